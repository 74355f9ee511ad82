"""What inserts refuse, with the place and code of each violation; and what they accept."""

from time import process_time
from urllib.parse import quote

import jsonschema_rs
import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from metering_cli.importing.cells import BadCellsError, parse_cells
from tests.environment import METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.contract import DOCUMENT
from tests.unit.lambda_calls import DRY_RUN, FUNCTION_TIME_MS, Answer, Api, Body, buyer, buyers, usage
from tools.local_cloud.hourly_job import HourlyJob, Marketplace

LICENSE = "license-manager::123456789012:license/lic-EXAMPLE12345"
PROTOTYPE = [
    *("constructor", "__proto__", "toString", "valueOf", "hasOwnProperty", "isPrototypeOf", "toLocaleString"),
    *("propertyIsEnumerable", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
]
# Customers and dimensions of the kinds seen in the wild.
REFUSED_CUSTOMERS = {
    "too_long": ["x" * 129, "1" * 129, "x" * 1000, f"arn:aws:{LICENSE}{'x' * 100}"],
    "not_printable_ascii": [
        *("a b", "a\tb", "a\nb", "a\r\n", " ExWoL3vTir2", "ExWoL3vTir2 ", "\x00", "a\x7fb", "\x1b[0m"),
        *("kundé", "kunde\u0301", "客户", "клиент", "العميل", "😀", "\ufeffExWo", "ExWo\u200b", "Ex\xadWo"),
        *("\u202ea", "ＥｘＷｏ", "a\ufffd", "\u2028a", "Ex–Wo", "Ex’Wo", "\xa0", "—", "…", "[object Object]"),
        *("1234 5678 9012", "1234\xa05678\xa09012", "１２３４５６７８９０１２", "١٢٣٤٥٦٧٨٩٠١٢"),
        *("1.23457×10^11", f" arn:aws:{LICENSE}", f"arn:aws:{LICENSE}\n", "arn:aws:license‑manager::1:l"),
    ],
    "percent_sign": ["100%", "%", "%41", "%zz", "a%253Ab", "%s", "a%20b", quote(f"arn:aws:{LICENSE}")],
    "misplaced_slash": ["/", "//", "/a", "a/", "a//b", "x/" * 64, f"/arn:aws:{LICENSE}", "arn:aws:iam:/"],
    "dot_segment": [".", "..", "./a", "a/.", "a/..", "a/../b", "a/./b", "../../etc/passwd", "1/../2"],
    "not_an_account_id": [
        *("0", "1", "12345678901", "1234567890123", "1" * 128, "-1", "1/2", "12:30", "::1", "1.2.3.4", "~1"),
        *("1234-5678-9012", "1234/5678/9012", "1234:5678|9012", "123_456_789_012", "(123456789012)"),
        *("123,456,789,012", "123.456.789.012", "123'456'789'012", "$123,456,789,012", "123456789012.0"),
        *("123456789012,00", "12345678901.0", "123456789012;", "-123456789012", "+123456789012", "#12"),
        *("'123456789012", '"123456789012"', '="012345678901"', "=123456789012", "`123456789012`"),
        *("[123456789012]", "<123456789012>", "2026-11-23", "11/23/2026", "23.11.2026", "1E11", "1,2e3"),
        *("1.23457E+11", "1.23457e11", "1,23457E+11", "1.E+11", "12.3457E+10", "123.457E+09", "12E10"),
        *("-1.23E+11", "+1.23E+11", "'1.23E+11", '="1.23E+11"', "1.23E+11;", "-", "...", ",", "''"),
    ],
    "reserved_name": PROTOTYPE,
}
REFUSED_PATHS = {
    "not_printable_ascii": ["a b", "a%00", "kundé", "%C3%A9", "%FF", "\ud800"],
    "percent_sign": ["100%", "%zz", "a%253Ab"],
    "misplaced_slash": ["ExWo/", "%2fExWo", "a//b", "a/%2Fb", "//"],
    "dot_segment": ["..", "a/../b", "a/%2e"],
}
ACCEPTED_CUSTOMERS = [
    *(f"arn:aws{each}:{LICENSE}" for each in ("", "-cn", "-us-gov", "-iso", "-iso-b", "-iso-f", "-eusc")),
    *("ExWoL3vTir2", "7hK2mZq9XcB", "123456789012", "000000000001", "x" * 128, "x/" * 63 + "xx", "a@b.com"),
    *("507f1f77bcf86cd799439011", "123e4567-e89b-12d3-a456-426614174000", "12E", "E12", "4e5f6", "1.2a"),
    *("0x1CBE991A14", "2026-11-23T10:00:00Z", "Constructor", "prototype", "length", "a/constructor", ".a"),
    *("a/...", "a..b", "a#0", "a\\b", "a+b", "a;b", "a?b", "a&b=c", "{a}", "<a>", "'a\"", "a~!", "a.", "!~"),
    # No rule can know them all; the table of subscribers does.
    *("undefined", "null", "NaN", "n/a", "#REF!", "=A1", "arn:aws", "arn:aws:iam::123456789012:root", "*"),
]
REFUSED_DIMENSIONS = {
    "too_long": ["x" * 256, "😀" * 256],
    "not_plain_text": [
        *(" ", "  ", " m", "m ", "\tm", "m\n", "m\r\n", "\xa0m", "m\u2003", "\u2028m", "\u3000", "\ufeffm"),
        *("a\tb", "a\nb", "a\x00b", "\x00", "a\x1fb", "a\x7fb", "a\x85b", "a\x9fb", "\x1b[0m"),
    ],
    "not_unicode": ["m\ufffd", "\ufffd"],
    "reserved_name": PROTOTYPE,
}
ACCEPTED_DIMENSIONS = [
    *("metered_1_id", "m", "m.1", "m/2", "a b", "0", "-1", "1e5", "null", "undefined", "é", "e\u0301"),
    *("使用量", "😀", "x" * 255, "Constructor", "length", "100%", "%20", "=A1", "'m'", '"', "\\", "<b>"),
]


def is_documented(schema: str, member: str, name: str) -> bool:
    return jsonschema_rs.is_valid(DOCUMENT["components"]["schemas"][schema]["properties"][member], name)


def violations(answer: Answer) -> list[str]:
    """Pointer and code of each."""
    assert answer.problem == (422, "invalid-request")
    return [f"{error['pointer']} {error['code']}" for error in answer.body["errors"]]


@pytest.mark.parametrize("code", REFUSED_CUSTOMERS)
def test_unbillable_customers_are_refused_on_every_way_in(api: Api, stored: StoredItems, code: str) -> None:
    names = REFUSED_CUSTOMERS[code]

    bulk = api.insert_many(buyers(*(buyer(name, m=1) for name in names)))

    assert violations(bulk) == [f"/buyers/{index}/customerIdentifier {code}" for index in range(len(names))]
    for path in [*(quote(name, safe="") for name in names), *REFUSED_PATHS.get(code, ())]:
        for answer in (api.insert_one(path, usage(m=1)), api.records(path)):
            assert violations(answer) == [f"/customerIdentifier {code}"], ascii(path)
    for name in names:
        assert not is_documented("Entry", "customerIdentifier", name), name
        with pytest.raises(BadCellsError):
            parse_cells({"customerIdentifier": name, "dimension_name": "m", "dimension_value": "1"})
    assert stored.all() == []


@pytest.mark.parametrize("code", REFUSED_DIMENSIONS)
def test_unbillable_dimensions_are_refused(api: Api, code: str) -> None:
    for name in REFUSED_DIMENSIONS[code]:
        answer = api.insert_one("c", usage(**{name: 1}))
        assert violations(answer) == [f"/metered_dimensions/0/dimension_name {code}"], ascii(name)
        assert not is_documented("MeteredDimension", "dimension_name", name), ascii(name)


def test_odd_customers_are_checked_within_the_functions_time(api: Api) -> None:
    """A pattern that tries many ways to match takes minutes for these."""
    odd = [f"{number:05d}{'-1' * 61}a" for number in range(5_000)]
    odd += [f"{number:05d}{'1' * 122}a" for number in range(5_000)]
    started = process_time()

    assert api.insert_many(buyers(*(buyer(each, m=1) for each in odd)), query=DRY_RUN).status == 200

    assert process_time() - started < FUNCTION_TIME_MS / 1000


def test_all_that_is_accepted_is_billed(api: Api, dynamodb: DynamoDBClient) -> None:
    sent = [(name, "m") for name in ACCEPTED_CUSTOMERS] + [("c", name) for name in ACCEPTED_DIMENSIONS]
    assert api.insert_many(buyers(*(buyer(customer, **{name: 1}) for customer, name in sent))).body == {}
    for customer, name in sent:
        path = quote(customer, safe="")
        assert api.insert_one(path, usage(**{name: 1}), query=DRY_RUN).status == 200
        assert [record["customerIdentifier"] for record in api.records(path).body["records"]] == [customer]
        assert is_documented("Entry", "customerIdentifier", customer), customer
        assert is_documented("MeteredDimension", "dimension_name", name), ascii(name)

    marketplace = Marketplace()
    HourlyJob(dynamodb, METERING_TABLE_NAME, marketplace).run()

    assert marketplace.metered == dict.fromkeys(sent, 1)


def dimensions(*values: object) -> Body:
    return {"metered_dimensions": [*values]}


def named(*names: object) -> list[Body]:
    return [dimensions({"dimension_name": name, "dimension_value": 1}) for name in names]


def valued(*values: object) -> list[Body]:
    return [usage(m=value) for value in values]


def with_id(*ids: object) -> list[Body]:
    return [usage(m=1) | {"transaction_id": each} for each in ids]


M = {"dimension_name": "m", "dimension_value": 1}
MAX_QUANTITY = 2_147_483_647
# In either insert.
REFUSED_USAGE: dict[str, list[Body]] = {
    "/metered_dimensions required": [{}],
    "/metered_dimensions not_a_list": [{"metered_dimensions": None}, {"metered_dimensions": {}}],
    "/metered_dimensions too_few": [dimensions()],
    "/metered_dimensions/0 not_an_object": [dimensions("m"), dimensions(None)],
    "/metered_dimensions/0/dimension_name too_short": named(""),
    "/metered_dimensions/0/dimension_name not_unicode": named("\ud800"),
    "/metered_dimensions/0/dimension_name not_a_string": named(7, None),
    "/metered_dimensions/1/dimension_name duplicate_dimension": [dimensions(M, M)],
    "/metered_dimensions/0/dimension_value not_an_integer": [
        *valued(True, False, 1.0, 1e200, "10", None, [1], {})
    ],
    "/metered_dimensions/0/dimension_value too_small": valued(-1),
    "/metered_dimensions/0/dimension_value too_large": valued(10**100),
    # Null above all: a client that lost the id must not have its usage stored without one.
    "/transaction_id not_a_string": with_id(None, 7, ["t"]),
    "/transaction_id too_short": with_id(""),
    "/transaction_id not_printable_ascii": with_id("é", "a\n", "\x7f"),
    "/a~1b~0c unknown_field": [usage(m=1) | {"a/b~c": 1}],
}
REFUSED_BULKS: dict[str, list[Body]] = {
    "/buyers required": [{}],
    "/buyers not_a_list": [{"buyers": None}, {"buyers": {}}],
    "/buyers too_few": [buyers()],
    "/buyers too_many": [buyers(*[buyer("c", m=1)] * 10_001)],
    "/buyers/0 not_an_object": [{"buyers": [[]]}],
    "/buyers/0/customerIdentifier required": [buyers(usage(m=1))],
    "/buyers/0/customerIdentifier too_short": [buyers(buyer("", m=1))],
    "/buyers/0/customerIdentifier not_unicode": [buyers(buyer("\ud800", m=1))],
    "/buyers/0/customerIdentifier not_a_string": [
        buyers(usage(m=1) | {"customerIdentifier": each}) for each in (12, None)
    ],
}


def test_usage_that_breaks_a_rule_is_refused_with_its_place(api: Api, stored: StoredItems) -> None:
    cases = [(body, violation) for violation, bodies in REFUSED_USAGE.items() for body in bodies]

    for body, violation in cases:
        assert violations(api.insert_one("c", body)) == [violation], body
    bulk = api.insert_many(buyers(*({"customerIdentifier": "c"} | body for body, _ in cases)))

    assert violations(bulk) == [f"/buyers/{index}{violation}" for index, (_, violation) in enumerate(cases)]
    assert stored.all() == []


def test_a_bulk_body_that_breaks_a_rule_is_refused(api: Api) -> None:
    for violation, bodies in REFUSED_BULKS.items():
        for body in bodies:
            assert violations(api.insert_many(body)) == [violation]


def test_all_violations_of_an_entry_are_reported(api: Api) -> None:
    body = dimensions(M, {"dimension_name": "n", "unit": "GB"}, M | {"dimension_value": -1}, {})

    answer = api.insert_one("a b", body | {"customerIdentifier": "c"})

    assert set(violations(answer)) == {
        "/customerIdentifier not_printable_ascii",
        "/customerIdentifier unknown_field",
        "/metered_dimensions/1/dimension_value required",
        "/metered_dimensions/1/unit unknown_field",
        "/metered_dimensions/2/dimension_value too_small",
        "/metered_dimensions/2/dimension_name duplicate_dimension",
        "/metered_dimensions/3/dimension_name required",
        "/metered_dimensions/3/dimension_value required",
    }
    (detail,) = (each["detail"] for each in answer.body["errors"] if each["code"] == "duplicate_dimension")
    assert "/metered_dimensions/0/dimension_name" in detail


def wide(customer: str, start: int, end: int) -> Body:
    return buyer(customer, **{f"m{number}": 1 for number in range(start, end)})


@pytest.mark.parametrize(
    ("violation", "last", "beyond"),
    [
        ("customerIdentifier too_long", buyer("x" * 128, m=1), buyer("x" * 129, m=1)),
        ("transaction_id too_long", buyer("e", "x" * 255, m=1), buyer("e", "x" * 256, m=1)),
        ("metered_dimensions too_many", wide("e", 0, 25), wide("e", 0, 26)),
        ("metered_dimensions/0/dimension_value too_large", buyer("e", m=2**31 - 1), buyer("e", m=2**31)),
        # With those before: the hourly job adds up, and sends all of a customer's dimensions in one call.
        ("metered_dimensions too_many_dimensions", wide("c", 15, 24), wide("c", 15, 25)),
        ("metered_dimensions/0/dimension_value sum_too_large", buyer("c", m=1), buyer("c", "t", m=2)),
    ],
)
def test_a_limit_is_kept_up_to_its_edge(
    api: Api, stored: StoredItems, violation: str, last: Body, beyond: Body
) -> None:
    before = [wide("c", 0, 20), buyer("c", m=MAX_QUANTITY - 1), buyer("d", m=1, m24=1)]

    assert violations(api.insert_many(buyers(*before, beyond))) == [f"/buyers/3/{violation}"]
    assert stored.all() == []
    assert api.insert_many(buyers(*before, last)).body == {}
    assert sum(sum(quantities.values()) for _, quantities in stored.usage()) > MAX_QUANTITY


def test_a_limit_is_reported_where_it_is_first_broken(api: Api) -> None:
    entries = [wide("c", 0, 20), wide("c", 20, 40), wide("c", 40, 60), *[buyer("c", m0=MAX_QUANTITY)] * 2]

    assert violations(api.insert_many(buyers(*entries))) == [
        "/buyers/1/metered_dimensions too_many_dimensions",
        "/buyers/3/metered_dimensions/0/dimension_value sum_too_large",
    ]


def test_every_entry_sent_counts_known_or_not(api: Api) -> None:
    """What a request may have does not depend on what is stored."""
    known = buyer("c", "t", m=MAX_QUANTITY)
    api.insert_many(buyers(known))

    answer = api.insert_many(buyers(known, buyer("c", m=1)))

    assert violations(answer) == ["/buyers/1/metered_dimensions/0/dimension_value sum_too_large"]


def test_the_answer_to_a_hopeless_request_stays_small(api: Api) -> None:
    """10,000 entries are not too many; each breaks two rules, and the body another."""
    answer = api.insert_many({"buyers": [buyer("", m=-1)] * 10_000, "x" * 1_000_000: 1})

    assert len(violations(answer)) == 1_000
    assert "20001" in answer.body["detail"]
    unknown_field = api.insert_many({"buyers": [buyer("c", m=1)], "x" * 1_000_000: 1})
    assert len(unknown_field.body["errors"][0]["pointer"]) < 300
