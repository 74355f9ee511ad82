"""The report's page in a browser: in every size, by itself, and without a mistake in its script."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from metering_cli.reporting.failures import set_states
from metering_cli.reporting.findings import Findings
from metering_cli.reporting.page import render_page
from metering_cli.reporting.report import Report
from tests.integration.browser import chromium_page
from tests.unit.metering_cli.metering_items import answered, billed, failed_with, pending

OVERFLOWING = """[...document.querySelectorAll("body *")]
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
  .map((element) => element.outerHTML.slice(0, 80))"""
ODD = '"><script>document.title="owned"</script>'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    created = int(now.timestamp() * 1000) - 8 * 3_600_000
    report = Report()
    report.add(
        [
            pending("late", created, m=2**53),
            billed("fine", created - 1, m=1),
            answered(ODD, created - 2, {ODD: "Unprocessed"}, **{ODD: 1}),
            failed_with(ODD, "b" * 128, created - 3, **{"d" * 255: 1}),
        ]
    )
    set_states(report.failures, set(), 35, now)
    page = tmp_path / "report.html"
    findings = Findings.of(report, now, timedelta(hours=3))
    page.write_text(render_page(report, findings, "subtitle", now), encoding="utf-8")
    return page


def test_the_page_opens_by_itself_and_filters(path: Path) -> None:
    asked: list[str] = []
    said: list[str] = []
    with chromium_page() as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        title, text = page.title(), page.inner_text("body")
        page.keyboard.press("Tab")
        page.keyboard.type("FINE")
        shown = page.locator("tbody.customer:visible").all_inner_texts()
        status = page.inner_text("[role=status]")

    assert (asked, said) == ([path.as_uri()], [])
    assert title == "AWS Marketplace usage report"
    assert ODD in text
    assert [one.split()[0] for one in shown] == ["fine"]
    assert status == "1 of 4 customers"


@pytest.mark.parametrize(
    ("width", "height"), [(390, 844), (794, 1123), (1123, 794), (816, 1056), (1056, 816)]
)
def test_no_part_of_the_page_is_cut_off(path: Path, width: int, height: int) -> None:
    """A telephone; and A4 and Letter upright and across, at 96 pixels an inch."""
    with chromium_page() as page:
        page.emulate_media(media="screen" if width == 390 else "print")
        page.set_viewport_size({"width": width, "height": height})
        page.goto(path.as_uri())

        assert page.evaluate(OVERFLOWING) == []
