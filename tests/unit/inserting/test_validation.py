"""Bodies and paths that inserts refuse, and the limits of a request."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from metering_handlers.contract.limits import MAX_QUANTITY
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import Api, buyer, buyers, usage

ONE_DIMENSION = '{"metered_dimensions":[{"dimension_name":"m","dimension_value":%s}]}'
# Each in a path, some of them percent-encoded.
BAD_IDENTIFIERS = {
    "too_long": ["x" * 129],
    "not_printable_ascii": [
        *("a b", "a%20b", "ExWoL3vTir2%0A", "ExWoL3vTir2\n", "a%00"),
        *("kundé", "%C3%A9", "%FF", "\ud800"),
    ],
    "percent_sign": ["100%", "%zz", "a%253Ab"],
    "misplaced_slash": ["ExWo/", "ExWo%2F", "/ExWo", "%2fExWo", "a//b", "a/%2Fb", "/"],
    "dot_segment": ["..", ".", "a/../b", "a/%2e"],
    "not_an_account_id": [
        *("12345678901", "1234567890123", "1234-5678-9012", "123,456,789,012", "12345678901.0"),
        *("'012345678901", '="012345678901"', "1.23457E11", "1,23E+11"),
    ],
    "reserved_name": ["constructor", "__proto__", "%5f_proto__"],
}
GOOD_IDENTIFIERS = [
    *("123456789012", "012345678901", "!~", "x" * 128, "a/b", "a+b", "<a>&'\"[b]{c}|d^`\\"),
    *("12E", "cafe", "a..b", "a/.b", "Constructor", "4e5f6", "lic-1.2"),
]
BAD_DIMENSIONS: Mapping[str, Sequence[object]] = {
    "too_short": [""],
    "too_long": ["x" * 256],
    "not_plain_text": [
        *("  ", " m", "m ", "\u00a0m", "\ufeffm", "metered_1_id\n", "a\tb", "a\x00b", "a\x85b")
    ],
    "not_unicode": ["m\ufffd", "\ud800"],
    "reserved_name": ["constructor", "__proto__", "toString"],
    "not_a_string": [7, None],
}
BAD_QUANTITIES = {
    "not_an_integer": ["true", "false", "1.0", "1e2", '"10"', "null", "[1]", "{}"],
    "too_small": ["-1"],
    "too_large": ["2147483648", "9" * 100],
}


def cases(by_code: Mapping[str, Sequence[object]]) -> list[tuple[object, str]]:
    return [(value, code) for code, values in by_code.items() for value in values]


@pytest.mark.parametrize("customer", GOOD_IDENTIFIERS)
def test_other_printable_ascii_identifiers_are_accepted(api: Api, customer: str) -> None:
    assert api.insert_one(customer, usage(m=1)).status == 200
    assert [record["customerIdentifier"] for record in api.records(customer).body["records"]] == [customer]


@pytest.mark.parametrize(("customer", "code"), cases(BAD_IDENTIFIERS))
def test_an_identifier_the_job_could_never_bill_is_refused(
    api: Api, stored: StoredItems, customer: str, code: str
) -> None:
    answer = api.insert_one(customer, usage(m=1))

    assert answer.status == 422
    assert answer.problem_codes() == {("/customerIdentifier", code)}
    assert stored.all() == []


@pytest.mark.parametrize("customer", ["", "a%b", "a\tb", "é", "x" * 129, "..", "1234", "valueOf", 12])
def test_an_identifier_in_a_body_obeys_the_same_rules(
    api: Api,
    stored: StoredItems,
    customer: Any,  # noqa: ANN401
) -> None:
    answer = api.insert_many(buyers(buyer(customer, m=1)))

    assert answer.status == 422
    assert [error["pointer"] for error in answer.body["errors"]] == ["/buyers/0/customerIdentifier"]
    assert stored.all() == []


@pytest.mark.parametrize(("name", "code"), cases(BAD_DIMENSIONS))
def test_a_dimension_that_could_never_be_billed_is_refused(
    api: Api, stored: StoredItems, name: object, code: str
) -> None:
    answer = api.insert_one("c", {"metered_dimensions": [{"dimension_name": name, "dimension_value": 1}]})

    assert answer.status == 422
    assert answer.problem_codes() == {("/metered_dimensions/0/dimension_name", code)}
    assert stored.all() == []


@pytest.mark.parametrize("name", ["a b", "é", "使用量", "m.1/2", "Constructor"])
def test_a_dimension_may_have_any_other_text(api: Api, name: str) -> None:
    assert api.insert_one("c", usage(**{name: 1})).status == 200


@pytest.mark.parametrize(("value", "code"), cases(BAD_QUANTITIES))
def test_a_quantity_must_be_a_json_integer_in_range(
    api: Api, stored: StoredItems, value: str, code: str
) -> None:
    answer = api.insert_one("c", ONE_DIMENSION % value)

    assert answer.status == 422
    assert answer.problem_codes() == {("/metered_dimensions/0/dimension_value", code)}
    assert stored.all() == []


@pytest.mark.parametrize("quantity", [0, 1, MAX_QUANTITY])
def test_every_quantity_that_aws_takes_is_stored(api: Api, stored: StoredItems, quantity: int) -> None:
    assert api.insert_one("c", usage(m=quantity)).status == 200
    assert stored.usage() == [("c", {"m": quantity})]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/metered_dimensions", "required"),
        ({"metered_dimensions": None}, "/metered_dimensions", "not_a_list"),
        ({"metered_dimensions": {}}, "/metered_dimensions", "not_a_list"),
        ({"metered_dimensions": []}, "/metered_dimensions", "too_few"),
        ({"metered_dimensions": ["m"]}, "/metered_dimensions/0", "not_an_object"),
        ({"metered_dimensions": [None]}, "/metered_dimensions/0", "not_an_object"),
        (usage(**{f"m{index}": 1 for index in range(26)}), "/metered_dimensions", "too_many"),
        (usage(m=1) | {"customerIdentifier": "c"}, "/customerIdentifier", "unknown_field"),
        (usage(m=1) | {"a/b~c": 1}, "/a~1b~0c", "unknown_field"),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused_with_its_place(
    api: Api, body: object, pointer: str, code: str
) -> None:
    answer = api.insert_one("c", body)

    assert answer.status == 422
    assert answer.problem_codes() == {(pointer, code)}


def test_every_violation_is_reported_at_once(api: Api, stored: StoredItems) -> None:
    entries = [
        {"dimension_name": "m", "dimension_value": 1},
        {"dimension_name": "n", "dimension_value": "2", "unit": "GB"},
        {"dimension_name": "m", "dimension_value": -1},
        {},
    ]

    answer = api.insert_one("a b", {"metered_dimensions": entries, "extra": True})

    assert answer.status == 422
    assert answer.problem_codes() == {
        ("/customerIdentifier", "not_printable_ascii"),
        ("/metered_dimensions/1/dimension_value", "not_an_integer"),
        ("/metered_dimensions/1/unit", "unknown_field"),
        ("/metered_dimensions/2/dimension_value", "too_small"),
        ("/metered_dimensions/2/dimension_name", "duplicate_dimension"),
        ("/metered_dimensions/3/dimension_name", "required"),
        ("/metered_dimensions/3/dimension_value", "required"),
        ("/extra", "unknown_field"),
    }
    assert stored.all() == []


def test_one_bad_entry_refuses_the_whole_request(api: Api, stored: StoredItems) -> None:
    answer = api.insert_many(
        buyers(
            buyer("good", m=1),
            buyer("b d", m=True),
            {**buyer("c", m=1), "customerId": "c"},
            {"customerIdentifier": "c", "metered_dimensions": usage(m=1)["metered_dimensions"] * 2},  # type: ignore[operator]
        )
    )

    assert answer.status == 422
    assert answer.problem_codes() == {
        ("/buyers/1/customerIdentifier", "not_printable_ascii"),
        ("/buyers/1/metered_dimensions/0/dimension_value", "not_an_integer"),
        ("/buyers/2/customerId", "unknown_field"),
        ("/buyers/3/metered_dimensions/1/dimension_name", "duplicate_dimension"),
    }
    assert "/buyers/3/metered_dimensions/0/dimension_name" in answer.body["errors"][-1]["detail"]
    assert stored.all() == []


@pytest.mark.parametrize("body", [{}, {"buyers": []}, {"buyers": None}, {"buyers": {}}, {"buyers": [[]]}])
def test_a_body_without_buyers_is_refused(api: Api, body: dict[str, object]) -> None:
    assert api.insert_many(body).status == 422


def test_a_request_has_at_most_10000_entries(api: Api, stored: StoredItems) -> None:
    answer = api.insert_many(buyers(*[buyer("c", m=1)] * 10_001))

    assert answer.status == 422
    assert answer.problem_codes() == {("/buyers", "too_many")}
    assert "10000" in answer.body["errors"][0]["detail"]
    assert stored.all() == []


def test_the_answer_to_a_hopeless_request_stays_small(api: Api) -> None:
    answer = api.insert_many({"buyers": [buyer("", m=-1)] * 10_000, "x" * 1_000_000: 1})

    assert answer.status == 422
    assert len(answer.body["errors"]) == 1_000
    assert "20001" in answer.body["detail"]
    unknown_field = api.insert_many({"buyers": [buyer("c", m=1)], "x" * 1_000_000: 1})
    assert len(unknown_field.body["errors"][0]["pointer"]) < 300


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("ids", [(None, None), ("t1", "t2"), (None, "t2")], ids=["no id", "ids", "one id"])
def test_a_customers_sum_in_a_request_is_limited(
    api: Api, stored: StoredItems, ids: tuple[str | None, str | None], known: bool
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


def test_a_customers_largest_sum_is_stored(api: Api, stored: StoredItems) -> None:
    entries = [buyer("c", m=MAX_QUANTITY - 1), buyer("c", m=1), buyer("c", "t", m=0), buyer("d", m=1)]

    assert api.insert_many(buyers(*entries)).status == 200
    assert stored.usage() == [("c", {"m": MAX_QUANTITY}), ("d", {"m": 1})]


@pytest.mark.parametrize("last", ["m24", "m25"])
def test_a_customers_dimensions_in_a_request_are_limited(api: Api, stored: StoredItems, last: str) -> None:
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


def test_each_limit_is_reported_where_it_is_first_broken(api: Api) -> None:
    entries = [buyer("c", **{f"m{index}-{number}": MAX_QUANTITY for number in range(20)}) for index in "012"]

    answer = api.insert_many(buyers(*entries, entries[0]))

    assert answer.problem_codes() == {("/buyers/1/metered_dimensions", "too_many_dimensions")} | {
        (f"/buyers/3/metered_dimensions/{number}/dimension_value", "sum_too_large") for number in range(20)
    }
