"""Alarms, dashboard and saved queries in the template."""

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from aws_cdk.assertions import Template

from infra.config import Config
from infra.functions import METRICS_NAMESPACE
from infra.ministack import CONTEXT_KEY
from tests.unit.infra.stacks import PARAMS, PROJECT, properties, synthesize

STACK_NAME = Config.from_context(PARAMS).stack_name


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    """By section of the runbook."""
    return {
        re.search(r"section (\w+)\.$", alarm["AlarmDescription"])[1]: alarm  # type: ignore[index]
        for alarm in properties(template, "CloudWatch::Alarm")
    }


def dashboard(template: Template) -> list[dict[str, Any]]:
    (found,) = properties(template, "CloudWatch::Dashboard")
    parts = found["DashboardBody"]["Fn::Join"][1]
    body = "".join(part if isinstance(part, str) else "token" for part in parts)
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


def saved_queries(template: Template) -> dict[str, dict[str, Any]]:
    return {
        query["Name"].removeprefix(f"{STACK_NAME}/"): query
        for query in properties(template, "Logs::QueryDefinition")
    }


def test_every_alarm_has_its_section_in_the_runbook() -> None:
    runbook = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")

    sections = set(re.findall(r"^## (\w+)$", runbook, flags=re.MULTILINE))
    assert sections == set(alarms(synthesize(expected_usage_hours=3)))


def test_every_alarm_notifies_the_topic_when_it_starts_and_ends(template: Template) -> None:
    (topic,) = template.find_resources("AWS::SNS::Topic")

    assert len(alarms(template)) == 13
    for alarm in alarms(template).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}]


def test_a_request_is_slow_before_its_function_times_out(template: Template) -> None:
    thresholds = {name: alarm["Threshold"] for name, alarm in alarms(template).items() if "Slow" in name}

    assert thresholds == {
        "InsertMeteringRecordSlow": 5_000,
        "InsertMeteringRecordsSlow": 19_000,
        "ListMeteringRecordsSlow": 5_000,
    }


def test_the_topic_takes_tls_only_and_needs_no_paid_key(template: Template) -> None:
    (topic,) = properties(template, "SNS::Topic")
    (policy,) = properties(template, "SNS::TopicPolicy")

    assert "KmsMasterKeyId" not in topic
    assert "aws:SecureTransport" in str(policy)
    assert "cloudwatch.amazonaws.com" in str(policy)


def test_alarms_are_e_mailed_to_the_configured_address(template: Template) -> None:
    (subscription,) = properties(synthesize(alarm_email="operator@example.com"), "SNS::Subscription")

    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "operator@example.com")
    assert not properties(template, "SNS::Subscription")


def test_the_dashboards_widgets_fill_their_rows(template: Template) -> None:
    cells = [
        (x, y)
        for widget in dashboard(template)
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]

    assert len(cells) == len(set(cells)) == 24 * (max(y for _, y in cells) + 1)


def test_the_dashboard_shows_every_metric_of_inserts(template: Template) -> None:
    emitted = {
        name
        for path in (PROJECT / "src").rglob("*.py")
        for name in re.findall(r'add_metric\(\s*"(\w+)"', path.read_text("utf-8"))
    }
    shown = {
        metric[1]
        for widget in dashboard(template)
        for metric in widget["properties"].get("metrics", [])
        if metric[0] == METRICS_NAMESPACE
    }

    assert shown == emitted - {"RecordsListed"}


def test_queries_are_saved_under_the_stacks_name(template: Template) -> None:
    assert set(saved_queries(template)) == {
        *("One request, by its id", "One customer's calls", "Failures", "Slowest requests"),
        *("Incomplete requests", "Requests with known entries"),
    }
    for query in saved_queries(template).values():
        assert query["LogGroupNames"]


def test_queries_show_only_what_is_logged(template: Template) -> None:
    (stage,) = properties(template, "ApiGateway::Stage")
    logged = {"correlation_id", *json.loads(stage["AccessLogSetting"]["Format"])}
    for path in (PROJECT / "src" / "metering_handlers").rglob("*.py"):
        logged |= set(re.findall(r"\b(\w+)(?:=|\": )", path.read_text("utf-8")))

    for query in saved_queries(template).values():
        (fields,) = re.findall(r"^fields (.*)$", query["QueryString"], flags=re.MULTILINE)
        shown = {name for name in re.split(r", ?", fields) if re.fullmatch(r"\w+", name)}
        assert shown <= logged


@pytest.mark.parametrize("identifier", ["ExWoL3vTir2", "arn:aws:license-manager::123456789012:license/l-1"])
@pytest.mark.parametrize(
    "encode",
    [
        str,
        quote,
        partial(quote, safe=""),
        lambda text: quote(text, "").replace("%3A", "%3a").replace("%2F", "%2f"),
    ],
    ids=["plain", "in part", "whole", "whole, in lower case"],
)
def test_a_customers_calls_are_found_in_every_spelling(
    template: Template, identifier: str, encode: Callable[[str], str]
) -> None:
    text = saved_queries(template)["One customer's calls"]["QueryString"]

    # The path as CloudWatch Logs Insights evaluates it: replace(field, search, replacement), inside out.
    assert "filter decodedPath like 'CUSTOMER_IDENTIFIER'" in text
    nested = re.search(r"((?:replace\()+)path(.*?) as decodedPath", text)
    assert nested is not None
    pairs = re.findall(r", '([^']+)', '([^']+)'\)", nested[2])
    assert len(pairs) == nested[1].count("replace(")
    path = "/insertMeteringRecord/" + encode(identifier)
    for search, replacement in pairs:
        path = path.replace(search, replacement)
    assert path.endswith(identifier)


def test_a_local_cloud_gets_all_but_what_it_refuses() -> None:
    deployed, local = (
        synthesize(context, alarm_email="operator@example.com", waf=True)
        for context in ({}, {CONTEXT_KEY: "true"})
    )

    assert resource_types(deployed) - resource_types(local) == {
        "AWS::Logs::QueryDefinition": 6,
        "AWS::WAFv2::WebACLAssociation": 1,
        "AWS::CloudWatch::Alarm": sum("Metrics" in alarm for alarm in alarms(deployed).values()),
    }
    assert not [name for name, alarm in alarms(local).items() if "Metrics" in alarm]


def resource_types(template: Template) -> Counter[str]:
    return Counter(resource["Type"] for resource in template.to_json()["Resources"].values())
