"""The API reference in a browser, and calls tried there."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.integration.browser import NoChromiumError, chromium_page
from tests.integration.http_calls import stored
from tools.local_cloud.deploy import Api
from tools.local_cloud.steps import LOGS
from tools.openapi.reference import ReferenceServer

SCREENSHOT = LOGS / "reference.png"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    try:
        with chromium_page() as empty:
            yield empty
    except NoChromiumError as error:
        pytest.skip(str(error))


@contextmanager
def reference(api_file: Path) -> Iterator[ReferenceServer]:
    with ReferenceServer(0, api_file) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server
        finally:
            server.shutdown()


def try_insert(page: Page, customer: str) -> Locator:
    """Execute the first operation as the page suggests it, for that customer; return its box."""
    operation = page.locator("#operations-Inserting-insertMeteringRecord")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_placeholder("customerIdentifier").fill(customer)
    operation.get_by_role("button", name="Execute").click()
    return operation


def test_a_call_tried_in_the_page_is_stored(page: Page, api: Api, customer: str, tmp_path: Path) -> None:
    api_file = tmp_path / "api.json"
    api_file.write_text(json.dumps(asdict(api)))
    with reference(api_file) as server:
        page.goto(server.url)
        expect(page.get_by_role("status")).to_contain_text("signs for you")
        operation = try_insert(page, customer)
        answer = operation.locator(".live-responses-table .response")
        # The function starts with its first call.
        expect(answer.locator(".response-col_status")).to_have_text("200", timeout=30_000)
        operation.screenshot(path=SCREENSHOT)

    (record,) = stored(api, customer)
    assert len(record["dimension_usage"]["L"]) == 2


def test_without_a_local_cloud_the_page_says_how_to_start_it(page: Page, tmp_path: Path) -> None:
    with reference(tmp_path / "api.json") as server:
        page.goto(server.url)
        expect(page.get_by_role("status")).to_contain_text("make local")
        operation = try_insert(page, "anybody")
        expect(operation.locator(".live-responses-table")).to_contain_text("The local cloud is not running")
