"""POST /insertMeteringRecord/{customerIdentifier}."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.lambda_calls import Api, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID
from tools.example_requests import CUSTOMER, INSERT_ONE

if TYPE_CHECKING:
    from tests.unit.conftest import StoredItems

LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
ONE_DIMENSION = '{"metered_dimensions":[{"dimension_name":"m","dimension_value":%s}]}'


def test_the_seeds_example_is_answered_with_an_empty_object_and_stored_as_the_job_reads_it(
    api: Api, stored: "StoredItems"
) -> None:
    answer = api.insert_one(CUSTOMER, INSERT_ONE)

    assert (answer.status, answer.body) == (200, {})
    assert stored.all() == [
        {
            "customerIdentifier": {"S": CUSTOMER},
            "create_timestamp": {"N": str(api.request_time)},
            "metering_pending": {"S": "true"},
            "dimension_usage": {
                "L": [
                    {"M": {"dimension": {"S": "metered_1_id"}, "value": {"N": "10"}}},
                    {"M": {"dimension": {"S": "metered_3_id"}, "value": {"N": "20"}}},
                ]
            },
            "request_id": {"S": EXTENDED_REQUEST_ID},
        }
    ]


@pytest.mark.parametrize(
    "spelling",
    [
        LICENSE_ARN,
        "arn:aws:license-manager::123456789012:license%2Flic-EXAMPLE12345",
        "arn:aws:license-manager::123456789012%3Alicense%2flic-EXAMPLE12345",
        "arn%3Aaws%3Alicense-manager%3A%3A123456789012%3Alicense%2Flic-EXAMPLE12345",
        "".join(f"%{ord(character):02X}" for character in LICENSE_ARN),
    ],
)
def test_however_a_license_arn_is_spelled_in_the_path_it_is_one_customer(
    api: Api, stored: "StoredItems", spelling: str
) -> None:
    assert api.insert_one(spelling, usage(m=1)).status == 200

    assert [item["customerIdentifier"] for item in stored.all()] == [{"S": LICENSE_ARN}]
    assert len(api.records(spelling).body["records"]) == 1


@pytest.mark.parametrize("customer", ["123456789012", "!~", "x" * 128, "a/b", "a+b", "<a>&'\"[b]{c}|d^`\\"])
def test_any_printable_ascii_identifier_is_accepted(api: Api, stored: "StoredItems", customer: str) -> None:
    assert api.insert_one(customer, usage(m=1)).status == 200
    assert [item["customerIdentifier"] for item in stored.all()] == [{"S": customer}]


@pytest.mark.parametrize(
    ("customer", "code"),
    [
        ("x" * 129, "too_long"),
        ("a b", "not_printable_ascii"),
        ("a%20b", "not_printable_ascii"),
        ("ExWoL3vTir2%0A", "not_printable_ascii"),
        ("ExWoL3vTir2\n", "not_printable_ascii"),
        ("a%00", "not_printable_ascii"),
        ("kundé", "not_printable_ascii"),
        ("%C3%A9", "not_printable_ascii"),
        ("%FF", "not_printable_ascii"),
        ("\ud800", "not_printable_ascii"),
        ("100%", "percent_sign"),
        ("%zz", "percent_sign"),
        ("a%253Ab", "percent_sign"),
        ("ExWo/", "misplaced_slash"),
        ("ExWo%2F", "misplaced_slash"),
        ("/ExWo", "misplaced_slash"),
        ("%2fExWo", "misplaced_slash"),
        ("a//b", "misplaced_slash"),
        ("a/%2Fb", "misplaced_slash"),
        ("/", "misplaced_slash"),
    ],
)
def test_an_identifier_the_job_could_never_forward_is_refused(
    api: Api, stored: "StoredItems", customer: str, code: str
) -> None:
    answer = api.insert_one(customer, usage(m=1))

    assert answer.status == 422
    assert answer.problem_codes() == {("/customerIdentifier", code)}
    assert stored.all() == []


@pytest.mark.parametrize("quantity", [0, 1, 2_147_483_647])
def test_every_quantity_that_aws_takes_is_accepted(api: Api, stored: "StoredItems", quantity: int) -> None:
    assert api.insert_one("c", usage(m=quantity)).status == 200
    assert stored.all()[0]["dimension_usage"]["L"][0]["M"]["value"] == {"N": str(quantity)}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("true", "not_an_integer"),
        ("false", "not_an_integer"),
        ("1.0", "not_an_integer"),
        ("1e2", "not_an_integer"),
        ('"10"', "not_an_integer"),
        ("null", "not_an_integer"),
        ("[1]", "not_an_integer"),
        ("{}", "not_an_integer"),
        ("-1", "too_small"),
        ("2147483648", "too_large"),
        ("9" * 100, "too_large"),
    ],
)
def test_a_quantity_that_is_no_such_json_integer_is_refused(
    api: Api, stored: "StoredItems", value: str, code: str
) -> None:
    answer = api.insert_one("c", ONE_DIMENSION % value)

    assert answer.status == 422
    assert answer.problem_codes() == {("/metered_dimensions/0/dimension_value", code)}
    assert stored.all() == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {("/metered_dimensions", "required")}),
        ({"metered_dimensions": None}, {("/metered_dimensions", "not_a_list")}),
        ({"metered_dimensions": {}}, {("/metered_dimensions", "not_a_list")}),
        ({"metered_dimensions": []}, {("/metered_dimensions", "too_few")}),
        ({"metered_dimensions": ["m"]}, {("/metered_dimensions/0", "not_an_object")}),
        ({"metered_dimensions": [None]}, {("/metered_dimensions/0", "not_an_object")}),
        (
            {"metered_dimensions": [{}]},
            {
                ("/metered_dimensions/0/dimension_name", "required"),
                ("/metered_dimensions/0/dimension_value", "required"),
            },
        ),
        (usage(**{f"m{index}": 1 for index in range(26)}), {("/metered_dimensions", "too_many")}),
        (usage(**{"x" * 256: 1}), {("/metered_dimensions/0/dimension_name", "too_long")}),
        (usage(**{"": 1}), {("/metered_dimensions/0/dimension_name", "too_short")}),
        (
            {"metered_dimensions": [{"dimension_name": 7, "dimension_value": 1}]},
            {("/metered_dimensions/0/dimension_name", "not_a_string")},
        ),
        (
            {"metered_dimensions": [{"dimension_name": "\ud800", "dimension_value": 1}]},
            {("/metered_dimensions/0/dimension_name", "not_unicode")},
        ),
        ({**usage(m=1), "customerIdentifier": "c"}, {("/customerIdentifier", "unknown_field")}),
        ({**usage(m=1), "a/b~c": 1}, {("/a~1b~0c", "unknown_field")}),
        (
            {"metered_dimensions": [{"dimension_name": "m", "dimension_value": 1, "unit": "GB"}]},
            {("/metered_dimensions/0/unit", "unknown_field")},
        ),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused_with_the_place(
    api: Api, stored: "StoredItems", body: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    answer = api.insert_one("c", body)

    assert answer.status == 422
    assert answer.problem_codes() == expected
    assert stored.all() == []


def test_every_violation_is_told_at_once_the_paths_and_a_duplicates_too(
    api: Api, stored: "StoredItems"
) -> None:
    entries = [
        {"dimension_name": "m", "dimension_value": 1},
        {"dimension_name": "n", "dimension_value": "2"},
        {"dimension_name": "m", "dimension_value": -1},
    ]

    answer = api.insert_one("a b", {"metered_dimensions": entries, "extra": True})

    assert answer.status == 422
    assert answer.problem_codes() == {
        ("/customerIdentifier", "not_printable_ascii"),
        ("/metered_dimensions/1/dimension_value", "not_an_integer"),
        ("/metered_dimensions/2/dimension_value", "too_small"),
        ("/metered_dimensions/2/dimension_name", "duplicate_dimension"),
        ("/extra", "unknown_field"),
    }
    assert stored.all() == []


def test_a_dimension_given_twice_is_refused_and_both_places_are_named(
    api: Api, stored: "StoredItems"
) -> None:
    entries = [{"dimension_name": name, "dimension_value": 1} for name in ("a", "m", "b", "m")]

    answer = api.insert_one("c", {"metered_dimensions": entries})

    assert answer.status == 422
    (error,) = answer.body["errors"]
    assert (error["pointer"], error["code"]) == (
        "/metered_dimensions/3/dimension_name",
        "duplicate_dimension",
    )
    assert "/metered_dimensions/1" in error["detail"]
    assert stored.all() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 400),
        ("", 400),
        ("{", 400),
        ("metered_dimensions", 400),
        (ONE_DIMENSION % "NaN", 400),
        (ONE_DIMENSION % "Infinity", 400),
        (ONE_DIMENSION % ("1" * 5_000), 400),
        ('{"metered_dimensions":[],"metered_dimensions":[]}', 400),
        ("[" * 100_000, 400),
        ("null", 422),
        ("1", 422),
        ('"text"', 422),
        ("[]", 422),
        # Powertools takes the first element of an array where an object is expected.
        (json.dumps([usage(m=1)]), 422),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(
    api: Api, stored: "StoredItems", body: str | None, status: int
) -> None:
    answer = api.insert_one("c", body)

    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert stored.all() == []


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_is_json_however_the_content_type_is_written(api: Api, content_type: str) -> None:
    assert api.insert_one("c", usage(m=1), {"Content-Type": content_type}).status == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonl", "json"],
)
def test_a_content_type_that_is_not_json_is_refused(
    api: Api, stored: "StoredItems", content_type: str
) -> None:
    answer = api.insert_one("c", usage(m=1), {"Content-Type": content_type})

    assert answer.status == 415
    assert "application/json" in answer.body["detail"]
    assert stored.all() == []


@pytest.mark.parametrize("prefer", ["return=representation", "respond-async, Return = Representation; foo=1"])
def test_a_caller_who_prefers_a_representation_gets_the_stored_keys(api: Api, prefer: str) -> None:
    answer = api.insert_one(LICENSE_ARN, usage(m=1), {"Prefer": prefer})

    assert answer.body == {
        "records": [{"customerIdentifier": LICENSE_ARN, "create_timestamp": api.request_time}]
    }
    assert answer.headers["Preference-Applied"] == "return=representation"


def test_a_preference_we_do_not_know_is_ignored(api: Api) -> None:
    answer = api.insert_one("c", usage(m=1), {"Prefer": "return=minimal, wait=10"})

    assert (answer.status, answer.body) == (200, {})
    assert "Preference-Applied" not in answer.headers


def test_a_second_record_of_the_same_millisecond_takes_the_next_one(api: Api, stored: "StoredItems") -> None:
    for _ in range(3):
        assert api.insert_one("c", usage(m=1)).status == 200

    timestamps = sorted(int(item["create_timestamp"]["N"]) for item in stored.all())
    assert timestamps == [api.request_time, api.request_time + 1, api.request_time + 2]


def test_a_problem_has_the_shape_of_rfc_9457_and_the_request_id(api: Api) -> None:
    answer = api.insert_one("c", {})

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["status"] == answer.status == 422
    assert answer.body["instance"] == EXTENDED_REQUEST_ID
    assert set(answer.body) == {"type", "title", "status", "detail", "instance", "errors"}


def test_a_path_of_another_function_is_not_found(api: Api) -> None:
    from metering_handlers import insert_metering_record  # noqa: PLC0415

    answer = api.call(insert_metering_record.lambda_handler, api.event("GET", "/listMeteringRecords/c"))

    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
