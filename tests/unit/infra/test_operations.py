"""Alarms, dashboard and saved queries in the template."""

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aws_cdk.assertions import Match, Template

from infra.config import Config
from infra.functions import METRICS_NAMESPACE
from infra.ministack import CONTEXT_KEY
from tests.unit.infra.conftest import PARAMS

STACK_NAME = Config.from_context(PARAMS).stack_name
RUNBOOK = Path(__file__).parents[3] / "docs" / "operations.md"


@pytest.fixture(scope="module")
def operations(synthesize: Callable[..., Template]) -> Template:
    return synthesize(alarm_email="operator@example.com")


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    found = template.find_resources("AWS::CloudWatch::Alarm").values()
    return {
        re.search(r"section (\w+)\.$", alarm["Properties"]["AlarmDescription"])[1]: alarm["Properties"]  # type: ignore[index]
        for alarm in found
    }


def dashboard(template: Template) -> list[dict[str, Any]]:
    (resource,) = template.find_resources("AWS::CloudWatch::Dashboard").values()
    parts = resource["Properties"]["DashboardBody"]["Fn::Join"][1]
    body = "".join(part if isinstance(part, str) else "token" for part in parts)
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


def test_every_alarm_has_its_section_in_the_runbook_and_every_section_its_alarm(operations: Template) -> None:
    sections = set(re.findall(r"^## (\w+)$", RUNBOOK.read_text(), flags=re.MULTILINE))

    assert sections == set(alarms(operations))


def test_every_alarm_tells_the_topic_when_it_starts_and_when_it_ends(operations: Template) -> None:
    (topic,) = operations.find_resources("AWS::SNS::Topic")

    assert len(alarms(operations)) == 11
    for alarm in alarms(operations).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}]


def test_one_failed_request_among_few_is_no_alarm(operations: Template) -> None:
    alarm = alarms(operations)["ServerErrors"]

    (expression,) = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
    # One in twenty or fewer is 5 %, and the alarm begins above.
    assert expression == "100 * errors / IF(requests < 20, 20, requests)"
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (5, "GreaterThanThreshold")


def test_a_bulk_request_may_take_longer_and_still_less_than_the_functions_time(operations: Template) -> None:
    thresholds = {
        name: alarm["Threshold"] for name, alarm in alarms(operations).items() if name.endswith("Slow")
    }

    assert thresholds["InsertMeteringRecordSlow"] == thresholds["ListMeteringRecordsSlow"] == 5_000
    assert 5_000 < thresholds["InsertMeteringRecordsSlow"] < 27_000


def test_the_topic_takes_tls_only_lets_cloudwatch_publish_and_needs_no_paid_key(operations: Template) -> None:
    operations.has_resource_properties("AWS::SNS::Topic", {"KmsMasterKeyId": Match.absent()})
    operations.resource_count_is("AWS::KMS::Key", 0)
    (policy,) = operations.find_resources("AWS::SNS::TopicPolicy").values()
    text = json.dumps(policy)
    assert "aws:SecureTransport" in text
    assert "cloudwatch.amazonaws.com" in text


def test_alarms_go_by_e_mail_to_who_is_named_and_to_nobody_else(
    operations: Template, template: Template
) -> None:
    operations.has_resource_properties(
        "AWS::SNS::Subscription", {"Protocol": "email", "Endpoint": "operator@example.com"}
    )
    template.resource_count_is("AWS::SNS::Subscription", 0)


def test_the_dashboards_widgets_fill_their_rows_and_never_overlap(operations: Template) -> None:
    widgets = dashboard(operations)

    cells = [
        (x, y)
        for widget in widgets
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells))
    bottom = max(widget["y"] + widget["height"] for widget in widgets)
    assert len(cells) == 24 * bottom


def test_the_dashboard_shows_traffic_errors_latency_records_replays_and_throttling(
    operations: Template,
) -> None:
    titles = [widget["properties"].get("title") for widget in dashboard(operations)]

    assert titles == [
        None,
        "Alarms",
        "Requests",
        "Errors",
        "Latency of the API, ms",
        "Duration of the functions, p99, ms",
        "Records inserted, and marked by the hourly job",
        "Inserted minus marked, since the graph's start",
        "Repeats, and requests cut short",
        "Throttling",
        "Writes that DynamoDB throttled",
    ]


def test_the_dashboard_shows_every_metric_of_inserts_and_no_other(operations: Template) -> None:
    sources = (Path(__file__).parents[3] / "src").rglob("*.py")
    emitted = {
        name for path in sources for name in re.findall(r'add_metric\(\s*"(\w+)"', path.read_text("utf-8"))
    }
    shown = {
        metric[1]
        for widget in dashboard(operations)
        for metric in widget["properties"].get("metrics", [])
        if metric[0] == METRICS_NAMESPACE
    }

    assert shown == emitted - {"RecordsListed"}


def test_queries_are_saved_under_the_stacks_name(operations: Template) -> None:
    queries = operations.find_resources("AWS::Logs::QueryDefinition").values()

    names = {query["Properties"]["Name"].removeprefix(f"{STACK_NAME}/") for query in queries}
    assert names == {
        "One request, by its id",
        "One customer's calls",
        "Failures",
        "Slowest requests",
        "Incomplete requests",
        "Requests with known entries",
    }
    for query in queries:
        assert query["Properties"]["LogGroupNames"]


@pytest.mark.parametrize("identifier", ["ExWoL3vTir2", "arn:aws:license-manager::123456789012:license/l-1"])
@pytest.mark.parametrize(
    "encode",
    [
        str,
        quote,
        partial(quote, safe=""),
        lambda text: quote(text, "").replace("%3A", "%3a").replace("%2F", "%2f"),
    ],
    ids=["as it is", "in part", "whole", "whole, in lower case"],
)
def test_a_customers_calls_are_found_however_the_identifier_is_spelled(
    operations: Template, identifier: str, encode: Callable[[str], str]
) -> None:
    (text,) = (
        query["Properties"]["QueryString"]
        for query in operations.find_resources("AWS::Logs::QueryDefinition").values()
        if query["Properties"]["Name"].endswith("One customer's calls")
    )

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


def test_no_name_is_fixed_so_that_two_such_stacks_fit_one_account(operations: Template) -> None:
    for kind, name in (
        ("AWS::CloudWatch::Alarm", "AlarmName"),
        ("AWS::CloudWatch::Dashboard", "DashboardName"),
        ("AWS::SNS::Topic", "TopicName"),
    ):
        for resource in operations.find_resources(kind).values():
            assert name not in resource.get("Properties", {})


def test_a_local_cloud_gets_all_but_what_it_refuses(synthesize: Callable[..., Template]) -> None:
    params = {"alarm_email": "operator@example.com", "waf": True}
    deployed, local = synthesize(**params), synthesize(**params, context={CONTEXT_KEY: "true"})

    left_out = resource_types(deployed) - resource_types(local)
    metric_math = sum("Metrics" in alarm for alarm in alarms(deployed).values())
    assert left_out == {
        "AWS::Logs::QueryDefinition": 6,
        "AWS::WAFv2::WebACLAssociation": 1,
        "AWS::CloudWatch::Alarm": metric_math,
    }
    assert not [name for name, alarm in alarms(local).items() if "Metrics" in alarm]


def resource_types(template: Template) -> Counter[str]:
    return Counter(resource["Type"] for resource in template.to_json()["Resources"].values())
