"""Alarms, dashboard and saved queries in the template."""

import json
import re
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest

from infra.functions import METRICS_NAMESPACE
from infra.ministack import CONTEXT_KEY
from tests.unit.infra.stacks import PROJECT, alarms, properties, synthesize

HANDLERS = PROJECT / "src" / "metering_handlers"


def dashboard() -> list[dict[str, Any]]:
    (found,) = properties(synthesize(), "CloudWatch::Dashboard")
    parts = found["DashboardBody"]["Fn::Join"][1]
    body = "".join(part if isinstance(part, str) else "token" for part in parts)
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


def saved_queries() -> dict[str, dict[str, Any]]:
    """By name, which begins with the stack's."""
    return {
        query["Name"].removeprefix("cdk-apigw-marketplace-metering-records/"): query
        for query in properties(synthesize(), "Logs::QueryDefinition")
    }


def test_every_alarm_has_its_section_in_the_runbook() -> None:
    runbook = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")

    sections = set(re.findall(r"^## (\w+)$", runbook, flags=re.MULTILINE))
    assert sections == set(alarms(synthesize(expected_usage_hours=3)))


def test_every_alarm_notifies_the_topic_when_it_starts_and_ends() -> None:
    (topic,) = synthesize().find_resources("AWS::SNS::Topic")

    assert len(alarms(synthesize())) == 13
    for alarm in alarms(synthesize()).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}]


def test_the_dashboards_widgets_fill_their_rows() -> None:
    cells = [
        (x, y)
        for widget in dashboard()
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]

    assert len(cells) == len(set(cells)) == 24 * (max(y for _, y in cells) + 1)


def test_the_dashboard_shows_every_metric_of_inserts() -> None:
    text = (HANDLERS / "inserting" / "insertion.py").read_text("utf-8")
    emitted = set(re.findall(r'"([A-Z]\w+)", (?:MetricUnit|len\(|written\.)', text))
    shown = {
        metric[1]
        for widget in dashboard()
        for metric in widget["properties"].get("metrics", [])
        if metric[0] == METRICS_NAMESPACE
    }

    assert shown == emitted


def test_queries_have_the_stacks_name_and_show_only_what_is_logged() -> None:
    (stage,) = properties(synthesize(), "ApiGateway::Stage")
    logged = {"correlation_id", *json.loads(stage["AccessLogSetting"]["Format"])}
    for path in HANDLERS.rglob("*.py"):
        logged |= set(re.findall(r"\b(\w+)(?:=|\": )", path.read_text("utf-8")))

    assert set(saved_queries()) == {
        *("One request, by its id", "One customer's calls", "Failures", "Slowest requests"),
        *("Incomplete requests", "Requests with known entries"),
    }
    for query in saved_queries().values():
        (fields,) = re.findall(r"^fields (.*)$", query["QueryString"], flags=re.MULTILINE)
        assert {name for name in re.split(r", ?", fields) if re.fullmatch(r"\w+", name)} <= logged
        assert query["LogGroupNames"]


@pytest.mark.parametrize("identifier", ["ExWoL3vTir2", "arn:aws:license-manager::123456789012:license/l-1"])
def test_a_customers_calls_are_found_in_every_spelling(identifier: str) -> None:
    text = saved_queries()["One customer's calls"]["QueryString"]
    encoded = quote(identifier, safe="")

    # The path as CloudWatch Logs Insights evaluates it: replace(field, search, replacement), inside out.
    assert "filter decodedPath like 'CUSTOMER_IDENTIFIER'" in text
    nested = re.search(r"((?:replace\()+)path(.*?) as decodedPath", text)
    assert nested is not None
    pairs = re.findall(r", '([^']+)', '([^']+)'\)", nested[2])
    assert len(pairs) == nested[1].count("replace(")
    for spelling in (
        identifier,
        quote(identifier),
        encoded,
        encoded.replace("%3A", "%3a").replace("%2F", "%2f"),
    ):
        path = f"/insertMeteringRecord/{spelling}"
        for search, replacement in pairs:
            path = path.replace(search, replacement)
        assert path.endswith(identifier)


def test_a_local_cloud_gets_all_but_what_it_refuses() -> None:
    local = synthesize({CONTEXT_KEY: "true"}, waf=True)
    deployed, kept = (
        Counter(resource["Type"] for resource in template.to_json()["Resources"].values())
        for template in (synthesize(waf=True), local)
    )

    assert deployed - kept == {
        "AWS::Logs::QueryDefinition": 6,
        "AWS::WAFv2::WebACLAssociation": 1,
        "AWS::CloudWatch::Alarm": sum("Metrics" in alarm for alarm in alarms(synthesize()).values()),
    }
    assert not [name for name, alarm in alarms(local).items() if "Metrics" in alarm]
