"""Customers and dimensions of the kinds seen in the wild, and what becomes of each on every way in."""

from urllib.parse import quote

import jsonschema_rs
import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from metering_cli.importing.cells import BadCellsError, parse_cells
from tests.environment import METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.contract import DOCUMENT
from tests.unit.lambda_calls import Api, buyer, buyers, usage
from tools.local_cloud.hourly_job import HourlyJob, Marketplace

LICENSE = "license-manager::123456789012:license/lic-EXAMPLE12345"
PARTITIONS = ("", "-cn", "-us-gov", "-iso", "-iso-b", "-iso-e", "-iso-f", "-eusc")
PROTOTYPE = [
    *("constructor", "__proto__", "toString", "valueOf", "hasOwnProperty", "isPrototypeOf", "toLocaleString"),
    *("propertyIsEnumerable", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
]
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
ACCEPTED_CUSTOMERS = [
    *(f"arn:aws{partition}:{LICENSE}" for partition in PARTITIONS),
    *("ExWoL3vTir2", "7hK2mZq9XcB", "123456789012", "000000000001", "x" * 128, "x/" * 63 + "xx", "a@b.com"),
    *("507f1f77bcf86cd799439011", "123e4567-e89b-12d3-a456-426614174000", "12E", "E12", "4e5f6", "1.2a"),
    *("0x1CBE991A14", "2026-11-23T10:00:00Z", "Constructor", "prototype", "length", "a/constructor", ".a"),
    *(
        "a/...",
        "a..b",
        "a#0",
        "a\\b",
        "a+b",
        "a;b",
        "a?b",
        "a&b=c",
        "{a}",
        "<a>",
        "'a\"",
        "a~!",
        "a.",
        "!~",
        "*",
    ),
    # No rule can know them all; the table of subscribers does.
    *("undefined", "null", "NaN", "n/a", "#REF!", "=A1", "arn:aws", "arn:aws:iam::123456789012:root"),
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


def codes(errors: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in errors]


@pytest.mark.parametrize("code", REFUSED_CUSTOMERS)
def test_unbillable_customers_are_refused_on_every_way_in(api: Api, stored: StoredItems, code: str) -> None:
    names = REFUSED_CUSTOMERS[code]

    bulk = api.insert_many(buyers(*(buyer(name, m=1) for name in names)))

    places = [f"/buyers/{index}/customerIdentifier" for index in range(len(names))]
    assert codes(bulk.body["errors"]) == [(place, code) for place in places]
    for name in names:
        path = quote(name, safe="")
        for answer in (api.insert_one(path, usage(m=1)), api.records(path)):
            assert codes(answer.body["errors"]) == [("/customerIdentifier", code)], name
        assert not is_documented("Entry", "customerIdentifier", name), name
        with pytest.raises(BadCellsError):
            parse_cells({"customerIdentifier": name, "dimension_name": "m", "dimension_value": "1"})
    assert stored.all() == []


@pytest.mark.parametrize("code", REFUSED_DIMENSIONS)
def test_unbillable_dimensions_are_refused(api: Api, code: str) -> None:
    for name in REFUSED_DIMENSIONS[code]:
        answer = api.insert_one("c", usage(**{name: 1}))
        assert codes(answer.body["errors"]) == [("/metered_dimensions/0/dimension_name", code)], ascii(name)
        assert not is_documented("MeteredDimension", "dimension_name", name), ascii(name)


def test_all_that_is_accepted_is_billed(api: Api, dynamodb: DynamoDBClient) -> None:
    sent = [(name, "m") for name in ACCEPTED_CUSTOMERS] + [("c", name) for name in ACCEPTED_DIMENSIONS]
    assert api.insert_many(buyers(*(buyer(customer, **{name: 1}) for customer, name in sent))).body == {}
    for customer, name in sent:
        path = quote(customer, safe="")
        assert api.insert_one(path, usage(**{name: 1}), query={"dry_run": "true"}).status == 200
        assert [record["customerIdentifier"] for record in api.records(path).body["records"]] == [customer]
        assert is_documented("Entry", "customerIdentifier", customer), customer
        assert is_documented("MeteredDimension", "dimension_name", name), ascii(name)

    marketplace = Marketplace()
    HourlyJob(dynamodb, METERING_TABLE_NAME, marketplace).run()

    assert marketplace.metered == dict.fromkeys(sent, 1)
