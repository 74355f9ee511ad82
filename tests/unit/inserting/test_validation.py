"""Bodies and paths that inserts refuse, and the limits of a request."""

from typing import TYPE_CHECKING, Any

import pytest

from metering_handlers.contract.limits import MAX_QUANTITY
from tests.unit.lambda_calls import Api, buyer, buyers, usage

if TYPE_CHECKING:
    from tests.unit.conftest import StoredItems

ONE_DIMENSION = '{"metered_dimensions":[{"dimension_name":"m","dimension_value":%s}]}'


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
        ("..", "dot_segment"),
        (".", "dot_segment"),
        ("a/../b", "dot_segment"),
        ("a/%2e", "dot_segment"),
        ("12345678901", "not_an_account_id"),
        ("1234567890123", "not_an_account_id"),
        ("1234-5678-9012", "not_an_account_id"),
        ("123,456,789,012", "not_an_account_id"),
        ("12345678901.0", "not_an_account_id"),
        ("'012345678901", "not_an_account_id"),
        ('="012345678901"', "not_an_account_id"),
        ("1.23457E11", "not_an_account_id"),
        ("1,23E+11", "not_an_account_id"),
        ("constructor", "reserved_name"),
        ("__proto__", "reserved_name"),
        ("%5f_proto__", "reserved_name"),
    ],
)
def test_an_identifier_the_job_could_never_forward_is_refused(
    api: Api, stored: "StoredItems", customer: str, code: str
) -> None:
    answer = api.insert_one(customer, usage(m=1))

    assert answer.status == 422
    assert answer.problem_codes() == {("/customerIdentifier", code)}
    assert stored.all() == []


@pytest.mark.parametrize(
    "identifier", ["012345678901", "12E", "cafe", "a..b", "a/.b", "Constructor", "4e5f6", "lic-1.2"]
)
def test_an_identifier_that_only_resembles_a_mistake_is_taken(api: Api, identifier: str) -> None:
    assert api.insert_one(identifier, usage(m=1)).status == 200
    assert len(api.records(identifier).body["records"]) == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("  ", "not_plain_text"),
        (" m", "not_plain_text"),
        ("m ", "not_plain_text"),
        ("\u00a0m", "not_plain_text"),
        ("\ufeffm", "not_plain_text"),
        ("metered_1_id\n", "not_plain_text"),
        ("a\tb", "not_plain_text"),
        ("a\x00b", "not_plain_text"),
        ("a\x85b", "not_plain_text"),
        ("m\ufffd", "not_unicode"),
        ("constructor", "reserved_name"),
        ("__proto__", "reserved_name"),
        ("toString", "reserved_name"),
    ],
)
def test_a_dimension_that_could_never_be_billed_is_refused(
    api: Api, stored: "StoredItems", name: str, code: str
) -> None:
    answer = api.insert_one("c", usage(**{name: 1}))

    assert answer.status == 422
    assert answer.problem_codes() == {("/metered_dimensions/0/dimension_name", code)}
    assert stored.all() == []


@pytest.mark.parametrize("name", ["a b", "é", "使用量", "m.1/2", "Constructor"])
def test_a_dimension_may_have_any_other_text(api: Api, name: str) -> None:
    assert api.insert_one("c", usage(**{name: 1})).status == 200


@pytest.mark.parametrize("identifier", ["", "a%b", "a\tb", "é", "x" * 129, "..", "1234", "valueOf"])
def test_an_identifier_in_a_body_is_held_to_the_same_rules(
    api: Api, stored: "StoredItems", identifier: str
) -> None:
    answer = api.insert_many(buyers(buyer(identifier, m=1)))

    assert answer.status == 422
    assert [error["pointer"] for error in answer.body["errors"]] == ["/buyers/0/customerIdentifier"]
    assert stored.all() == []


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


def test_every_violation_is_told_at_once(api: Api, stored: "StoredItems") -> None:
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


def test_one_bad_entry_refuses_the_request_whole(api: Api, stored: "StoredItems") -> None:
    answer = api.insert_many(
        {
            "buyers": [
                buyer("good", m=1),
                buyer("b d", m=True),
                {**buyer("c", m=1), "customerId": "c"},
                {"customerIdentifier": 12, **usage(m=1)},
                {
                    "customerIdentifier": "c",
                    "metered_dimensions": [{"dimension_name": "m", "dimension_value": 1}] * 2,
                },
            ]
        }
    )

    assert answer.status == 422
    assert answer.problem_codes() == {
        ("/buyers/1/customerIdentifier", "not_printable_ascii"),
        ("/buyers/1/metered_dimensions/0/dimension_value", "not_an_integer"),
        ("/buyers/2/customerId", "unknown_field"),
        ("/buyers/3/customerIdentifier", "not_a_string"),
        ("/buyers/4/metered_dimensions/1/dimension_name", "duplicate_dimension"),
    }
    assert "/buyers/4/metered_dimensions/0/dimension_name" in answer.body["errors"][-1]["detail"]
    assert stored.all() == []


@pytest.mark.parametrize("body", [{}, {"buyers": []}, {"buyers": None}, {"buyers": {}}, {"buyers": [[]]}])
def test_a_body_without_buyers_is_refused(api: Api, body: dict[str, object]) -> None:
    assert api.insert_many(body).status == 422


def test_more_buyers_than_a_request_may_have_are_refused(api: Api, stored: "StoredItems") -> None:
    answer = api.insert_many({"buyers": [buyer("c", m=1)] * 10_001})

    assert answer.status == 422
    assert answer.problem_codes() == {("/buyers", "too_many")}
    assert "10000" in answer.body["errors"][0]["detail"]
    assert stored.all() == []


def test_an_answer_to_a_hopeless_request_stays_small(api: Api) -> None:
    answer = api.insert_many({"buyers": [buyer("", m=-1)] * 10_000})

    assert answer.status == 422
    assert len(answer.body["errors"]) == 1_000
    assert "20000" in answer.body["detail"]


def test_a_huge_unknown_field_name_does_not_blow_up_the_answer(api: Api) -> None:
    answer = api.insert_many({"buyers": [buyer("c", m=1)], "x" * 1_000_000: 1})

    assert answer.status == 422
    assert len(answer.body["errors"][0]["pointer"]) < 300


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("ids", [(None, None), ("t1", "t2"), (None, "t2")], ids=["no id", "ids", "one id"])
def test_a_customers_sum_in_a_request_is_limited(
    api: Api, stored: "StoredItems", ids: tuple[str | None, str | None], known: bool
) -> None:
    """Every entry sent counts, known or not: what a request may have does not depend on what is stored."""
    first, second = ids
    entries = [buyer("c", first, n=1, m=MAX_QUANTITY), buyer("c", second, m=1), buyer("d", m=1)]
    if known:
        api.insert_many(buyers(entries[0]))
    before = stored.all()

    answer = api.insert_many(buyers(*entries))

    assert answer.status == 422
    assert answer.problem_codes() == {("/buyers/1/metered_dimensions/0/dimension_value", "sum_too_large")}
    assert str(MAX_QUANTITY) in answer.body["errors"][0]["detail"]
    assert stored.all() == before


@pytest.mark.parametrize("last", ["m24", "m25"])
def test_a_customers_dimensions_in_a_request_are_limited(api: Api, stored: "StoredItems", last: str) -> None:
    """The hourly job sends all of a customer's dimensions in one call, which takes 25."""
    entries = [
        buyer("c", **{f"m{number}": 1 for number in range(20)}),
        buyer("d", other=1),
        buyer("c", "t", **{f"m{number}": 1 for number in range(15, 25)}),
        buyer("c", **{last: 1}),
    ]

    answer = api.insert_many(buyers(*entries))

    if last == "m24":
        assert answer.status == 200
        assert sorted(len(quantities) for _, quantities in stored.usage()) == [1, 25]
    else:
        assert answer.status == 422
        assert answer.problem_codes() == {("/buyers/3/metered_dimensions", "too_many_dimensions")}
        assert stored.all() == []


def test_a_customers_largest_sum_is_stored(api: Api, stored: "StoredItems") -> None:
    entries = [buyer("c", m=MAX_QUANTITY - 1), buyer("c", m=1), buyer("c", "t", m=0), buyer("d", m=1)]

    assert api.insert_many(buyers(*entries)).status == 200
    assert stored.usage() == [("c", {"m": MAX_QUANTITY}), ("d", {"m": 1})]


def test_each_limit_is_told_where_it_is_first_broken(api: Api) -> None:
    entries = [buyer("c", **{f"m{index}-{number}": MAX_QUANTITY for number in range(20)}) for index in "012"]

    answer = api.insert_many(buyers(*entries, entries[0]))

    assert answer.problem_codes() == {("/buyers/1/metered_dimensions", "too_many_dimensions")} | {
        (f"/buyers/3/metered_dimensions/{number}/dimension_value", "sum_too_large") for number in range(20)
    }
