"""Bodies and paths that inserts refuse, and the limits of a request."""

from collections.abc import Iterator, Mapping

import pytest

from metering_handlers.contract.limits import MAX_QUANTITY
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import Api, buyer, buyers, usage

ByCode = Mapping[str, list[object]]

# In a path, as a client may spell them; test_names.py has those that are spelled as a rule.
BAD_PATHS: ByCode = {
    "not_printable_ascii": ["a b", "a%20b", "ExWoL3vTir2%0A", "a%00", "kundé", "%C3%A9", "%FF", "\ud800"],
    "percent_sign": ["100%", "%zz", "a%253Ab"],
    "misplaced_slash": ["ExWo/", "ExWo%2F", "/ExWo", "%2fExWo", "a//b", "a/%2Fb", "/", "//"],
    "dot_segment": ["..", ".", "a/../b", "a/%2e"],
    "not_an_account_id": ["12345678901.0", "1234%2D5678-9012"],
    "reserved_name": ["constructor", "%5f_proto__"],
}
# In a body, beside those of test_names.py.
BAD_CUSTOMERS: ByCode = {"too_short": [""], "not_a_string": [12, None], "not_unicode": ["\ud800"]}
BAD_DIMENSIONS: ByCode = {"too_short": [""], "not_unicode": ["\ud800"], "not_a_string": [7, None]}
BAD_QUANTITIES: ByCode = {
    "not_an_integer": [True, False, 1.0, 1e200, "10", None, [1], {}],
    "too_small": [-1],
    "too_large": [MAX_QUANTITY + 1, 10**100],
}
# Null above all: a client that lost the id must not have its usage stored without one.
BAD_TRANSACTION_IDS: ByCode = {
    "not_a_string": [None, 7, ["t"]],
    "too_short": [""],
    "too_long": ["x" * 256],
    "not_printable_ascii": ["é", "a\n", "\x7f"],
}
BAD_BODIES: list[tuple[object, str, str]] = [
    ({}, "/metered_dimensions", "required"),
    ({"metered_dimensions": None}, "/metered_dimensions", "not_a_list"),
    ({"metered_dimensions": {}}, "/metered_dimensions", "not_a_list"),
    ({"metered_dimensions": []}, "/metered_dimensions", "too_few"),
    ({"metered_dimensions": ["m"]}, "/metered_dimensions/0", "not_an_object"),
    ({"metered_dimensions": [None]}, "/metered_dimensions/0", "not_an_object"),
    (usage(**{f"m{index}": 1 for index in range(26)}), "/metered_dimensions", "too_many"),
    (usage(m=1) | {"customerIdentifier": "c"}, "/customerIdentifier", "unknown_field"),
    (usage(m=1) | {"a/b~c": 1}, "/a~1b~0c", "unknown_field"),
]
TWICE = buyer("c", m=1) | {"metered_dimensions": [{"dimension_name": "m", "dimension_value": 1}] * 2}
BAD_BULK_BODIES: list[tuple[object, str, str]] = [
    (buyers(TWICE), "/buyers/0/metered_dimensions/1/dimension_name", "duplicate_dimension"),
    ({}, "/buyers", "required"),
    ({"buyers": []}, "/buyers", "too_few"),
    ({"buyers": None}, "/buyers", "not_a_list"),
    ({"buyers": {}}, "/buyers", "not_a_list"),
    ({"buyers": [[]]}, "/buyers/0", "not_an_object"),
    (buyers(*[buyer("c", m=1)] * 10_001), "/buyers", "too_many"),
    (buyers(buyer("c", m=1), buyer("c", m=1) | {"customerId": "c"}), "/buyers/1/customerId", "unknown_field"),
]


def flat(by_code: ByCode) -> list[tuple[object, str]]:
    return [(value, code) for code, values in by_code.items() for value in values]


def cases() -> Iterator[tuple[str, object, str, str]]:
    """Yield customer in the path, empty for a bulk insert; body; pointer and code of what is refused."""
    for customer, code in flat(BAD_PATHS):
        yield str(customer), usage(m=1), "/customerIdentifier", code
    for name, code in flat(BAD_DIMENSIONS):
        body = {"metered_dimensions": [{"dimension_name": name, "dimension_value": 1}]}
        yield "c", body, "/metered_dimensions/0/dimension_name", code
    for value, code in flat(BAD_QUANTITIES):
        yield "c", usage(m=value), "/metered_dimensions/0/dimension_value", code
    for bad, code in flat(BAD_TRANSACTION_IDS):
        entry = buyer("c", m=1) | {"transaction_id": bad}
        yield "c", usage(m=1) | {"transaction_id": bad}, "/transaction_id", code
        yield "", buyers(buyer("c", m=1), entry), "/buyers/1/transaction_id", code
    for bad, code in flat(BAD_CUSTOMERS):
        yield "", buyers(usage(m=1) | {"customerIdentifier": bad}), "/buyers/0/customerIdentifier", code
    yield from (("c", *case) for case in BAD_BODIES)
    yield from (("", *case) for case in BAD_BULK_BODIES)


@pytest.mark.parametrize(("customer", "body", "pointer", "code"), [*cases()])
def test_what_could_never_be_billed_is_refused_with_its_place(  # noqa: PLR0917
    api: Api, stored: StoredItems, customer: str, body: object, pointer: str, code: str
) -> None:
    answer = api.insert_one(customer, body) if customer else api.insert_many(body)

    assert answer.refusal == (422, {(pointer, code)})
    assert stored.all() == []
    if customer not in {"", "c"}:
        assert api.records(customer).refusal == answer.refusal


@pytest.mark.parametrize("quantity", [0, 1, MAX_QUANTITY])
def test_every_quantity_that_aws_takes_is_stored(api: Api, stored: StoredItems, quantity: int) -> None:
    assert api.insert_one("c", usage(m=quantity)).status == 200
    assert stored.usage() == [("c", {"m": quantity})]


def test_every_violation_is_reported_at_once(api: Api) -> None:
    dimensions = [
        {"dimension_name": "m", "dimension_value": 1},
        {"dimension_name": "n", "dimension_value": "2", "unit": "GB"},
        {"dimension_name": "m", "dimension_value": -1},
        {},
    ]

    answer = api.insert_one("a b", {"metered_dimensions": dimensions, "extra": True})

    assert answer.refusal == (
        422,
        {
            ("/customerIdentifier", "not_printable_ascii"),
            ("/metered_dimensions/1/dimension_value", "not_an_integer"),
            ("/metered_dimensions/1/unit", "unknown_field"),
            ("/metered_dimensions/2/dimension_value", "too_small"),
            ("/metered_dimensions/2/dimension_name", "duplicate_dimension"),
            ("/metered_dimensions/3/dimension_name", "required"),
            ("/metered_dimensions/3/dimension_value", "required"),
            ("/extra", "unknown_field"),
        },
    )
    (detail,) = (each["detail"] for each in answer.body["errors"] if each["code"] == "duplicate_dimension")
    assert "/metered_dimensions/0/dimension_name" in detail


def test_the_answer_to_a_hopeless_request_stays_small(api: Api) -> None:
    answer = api.insert_many({"buyers": [buyer("", m=-1)] * 10_000, "x" * 1_000_000: 1})

    assert (answer.status, len(answer.body["errors"])) == (422, 1_000)
    assert "20001" in answer.body["detail"]
    unknown_field = api.insert_many({"buyers": [buyer("c", m=1)], "x" * 1_000_000: 1})
    assert len(unknown_field.body["errors"][0]["pointer"]) < 300


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("ids", [(None, None), ("t1", "t2"), (None, "t2")], ids=["no id", "ids", "one id"])
def test_a_customers_sum_in_a_request_is_limited(
    api: Api, stored: StoredItems, ids: tuple[str | None, str | None], known: bool
) -> None:
    """Every entry sent counts, known or not: what a request may have does not depend on what is stored."""
    entries = [buyer("c", ids[0], n=1, m=MAX_QUANTITY), buyer("c", ids[1], m=1), buyer("d", m=1)]
    if known:
        api.insert_many(buyers(entries[0]))

    answer = api.insert_many(buyers(*entries))

    assert answer.refusal == (422, {("/buyers/1/metered_dimensions/0/dimension_value", "sum_too_large")})
    assert len(stored.all()) == known


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
        assert sorted(len(quantities) for _, quantities in stored.usage()) == [1, 25]
    else:
        assert answer.refusal == (422, {("/buyers/3/metered_dimensions", "too_many_dimensions")})
        assert stored.all() == []


def test_each_limit_is_reported_where_it_is_first_broken(api: Api) -> None:
    entries = [buyer("c", **{f"m{index}-{number}": MAX_QUANTITY for number in range(20)}) for index in "012"]

    assert api.insert_many(buyers(*entries, *entries[:1] * 2)).refusal == (
        422,
        {("/buyers/1/metered_dimensions", "too_many_dimensions")}
        | {
            (f"/buyers/3/metered_dimensions/{number}/dimension_value", "sum_too_large")
            for number in range(20)
        },
    )
