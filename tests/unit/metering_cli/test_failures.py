"""Failed usage is sent again once, if AWS certainly did not bill it, and then no longer counts as open."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mypy_boto3_dynamodb import DynamoDBClient

from metering_cli.reporting.command import report_command
from metering_cli.reporting.failures import FEWEST_DAYS_KNOWN, Failure, State, set_states, to_resend
from metering_cli.reporting.reasons import REASONS, Remedy, reason_of
from metering_cli.reporting.send_again import DOUBTFUL, FileInUseError, files_to_send
from metering_cli.usage_format import HEADER
from metering_handlers.contract.limits import MAX_QUANTITY
from tests.environment import IDEMPOTENCY_TABLE_NAME, METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import Api
from tests.unit.metering_cli.metering_items import pending
from tools.local_cloud.hourly_job import HourlyJob, Marketplace, MeteringError

NOW = datetime(2026, 11, 26, tzinfo=UTC)
MS_OF_A_DAY = 86_400_000
LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
TABLES = (
    "--table",
    METERING_TABLE_NAME,
    "--region",
    "us-east-1",
    "--idempotency-table",
    IDEMPOTENCY_TABLE_NAME,
)


def failure(
    reason: str = "Unprocessed",
    *,
    customer: str = "a",
    dimension: str | None = "m",
    quantity: object = 1,
    days_ago: float = 1,
    state: State = State.OPEN,
) -> Failure:
    recorded_at = int((NOW.timestamp() - days_ago * 86_400) * 1000)
    return Failure(customer, str(recorded_at), dimension, quantity, reason, recorded_at, None, state)


# --- state ---


def test_the_id_to_send_again_never_changes() -> None:
    """An id that changed would let usage be sent again that was sent again before."""
    one = Failure(LICENSE_ARN, "1795446956551", "metered_1_id", 10, "Unprocessed", 1795446956551)

    others = [replace(one, customer="b"), replace(one, created="1"), replace(one, dimension="m")]

    assert one.transaction_id == "failed-1-1795446956551-6682cc4b67ad9f07d3f0524dda88cac5"
    assert len({one.transaction_id, *(other.transaction_id for other in others)}) == 4


@pytest.mark.parametrize(
    ("days_ago", "has_row", "quantity", "state"),
    [
        (1, False, 1, State.OPEN),
        (1, True, 1, State.SENT_AGAIN),
        (1, None, 1, State.UNKNOWN),
        (34.9, False, 1, State.OPEN),
        (35.1, False, 1, State.TOO_OLD),
        (35.1, True, 1, State.SENT_AGAIN),
        (35.1, None, 1, State.TOO_OLD),
        (-1, False, 1, State.TOO_OLD),
        (-0.01, False, 1, State.OPEN),
        (None, False, 1, State.TOO_OLD),
        (1, False, 0, State.NOTHING),
    ],
)
def test_the_state_follows_from_the_row_and_the_age(
    days_ago: float | None, has_row: bool | None, quantity: int, state: State
) -> None:
    """None: a record without a time, and a table that cannot be read."""
    one = failure(quantity=quantity, days_ago=days_ago or 0)
    if days_ago is None:
        one.recorded_at = None
    rows = {True: {one.row_id}, False: {"other"}, None: None}[has_row]

    set_states([one], rows, FEWEST_DAYS_KNOWN, NOW)

    assert one.state is state


# --- what can be sent ---


@pytest.mark.parametrize("reason", [*REASONS, "ECONNREFUSED", "SomethingNewException"])
def test_only_what_aws_certainly_did_not_bill_is_to_be_sent(reason: str) -> None:
    one = failure(reason)
    resend = to_resend([one], (), ())

    where = {
        Remedy.SEND: resend.send,
        Remedy.CORRECT: [one for one, _ in resend.correct],
        Remedy.CHECK: resend.check,
    }
    assert where.pop(reason_of(reason).remedy) == [one]
    assert not any(where.values())
    assert reason_of(reason).source.startswith("https://docs.aws.amazon.com/")


def test_certain_are_those_reasons_after_which_aws_billed_nothing() -> None:
    by_remedy = {remedy: {name for name in REASONS if REASONS[name].remedy is remedy} for remedy in Remedy}

    assert by_remedy[Remedy.SEND] == {
        *("CustomerNotSubscribed", "Unprocessed", "ThrottlingException", "TimestampOutOfBoundsException"),
        *("RequestExpired", "ExpiredTokenException"),
    }
    assert by_remedy[Remedy.CHECK] == {
        *("DuplicateRecord", "Unknown", "InternalServiceErrorException", "InternalFailure", "TimeoutError"),
        *("ServiceUnavailable", "ServiceUnavailableException", "NetworkingError", "ECONNRESET"),
    }
    assert reason_of("SomethingNewException").remedy is Remedy.CHECK


@pytest.mark.parametrize("state", [State.SENT_AGAIN, State.TOO_OLD, State.NOTHING])
@pytest.mark.parametrize("reason", ["Unprocessed", "TimeoutError", "ValidationException"])
def test_what_is_not_open_is_never_written(state: State, reason: str) -> None:
    resend = to_resend([failure(reason, state=state)], [reason], ())

    assert (resend.send, resend.correct, resend.check) == ([], [], [])


def test_usage_of_unknown_dimensions_is_kept_apart() -> None:
    """Known dimensions of a call that was refused for another one can be sent as they are."""
    refused = "InvalidUsageDimensionException"
    good, bad, other = failure(refused), failure(refused, dimension="typo"), failure(dimension="typo")

    known = to_resend([good, bad, other], (), ("m", "n"))
    unknown = to_resend([good, bad], (), ())

    assert known.send == [good]
    assert [one for one, _ in known.correct] == [bad, other]
    assert all("not in params.dimensions" in why for _, why in known.correct)
    assert [one for one, _ in unknown.correct] == [good, bad]


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (failure(customer="a b"), "printable ASCII"),
        (failure(customer="1234"), "12 digits"),
        (failure(quantity=MAX_QUANTITY + 1), "less than or equal"),
        (failure(dimension=" m"), "white space"),
        (failure(dimension=None), "valid string"),
        (failure(quantity=1.5), "valid integer"),
        (failure(quantity=-1), "greater than or equal"),
    ],
)
def test_usage_that_the_api_refuses_is_to_be_corrected(one: Failure, why: str) -> None:
    ((corrected, to_correct),) = to_resend([one], (), ()).correct

    assert corrected is one
    assert why in to_correct


FAILURES = st.lists(
    st.builds(
        failure,
        st.sampled_from(["Unprocessed", "DuplicateRecord", "ValidationException", "ECONNRESET"]),
        customer=st.sampled_from(
            ["a", "a,b", '"q"', LICENSE_ARN, "=A1", "999999999999", "a\\b;c", "10", "a b"]
        ),
        dimension=st.none() | st.text(max_size=5) | st.sampled_from(["a;b", "a\tb", '"']),
        quantity=st.integers(-1, MAX_QUANTITY + 1) | st.sampled_from([1.5, None, "1"]),
        days_ago=st.integers(0, 3),
    ),
    max_size=20,
)


@given(failures=FAILURES)
def test_every_open_failure_is_in_one_list_and_read_back(
    failures: list[Failure], tmp_path_factory: pytest.TempPathFactory
) -> None:
    resend = to_resend(failures, (), ())
    path = tmp_path_factory.mktemp("again") / "failed.csv"
    files, _ = files_to_send(path, failures, (), ())

    listed = [*resend.send, *(one for one, _ in resend.correct), *resend.check]
    assert sorted(map(id, listed)) == sorted(map(id, failures))
    header, *lines = csv.reader(files.get(path, ",".join(HEADER).encode()).decode().splitlines(keepends=True))
    assert tuple(header) == HEADER
    assert lines == [
        [one.customer, one.dimension, str(one.quantity), one.transaction_id] for one in resend.send
    ]


# --- the files ---


def test_an_edited_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "failed.csv"
    files, _ = files_to_send(path, [failure(), failure("ValidationException")], (), ())
    for file, content in files.items():
        file.write_bytes(content)
    assert files_to_send(path, [failure(), failure("ValidationException")], (), ())[0] == files
    (tmp_path / "failed-to-correct.csv").write_text("edited")

    with pytest.raises(FileInUseError, match="has other lines"):
        files_to_send(path, [failure(), failure("ValidationException")], (), ())


def test_the_messages_say_what_is_left_out_and_quote_the_path(tmp_path: Path) -> None:
    path = tmp_path / "failed usage.csv"
    failures = [failure(), failure("TimeoutError"), failure(days_ago=100, state=State.TOO_OLD)]

    files, messages = files_to_send(path, failures, (), ())

    said = "\n".join(messages)
    assert f"metering import '{path}'" in said
    assert "AWS may have billed them: 1 failure (TimeoutError 1)" in said
    assert "too late to tell whether they were sent again: 1 failure." in said
    assert "Never change the customer" in said
    assert list(files) == [path]
    nothing, messages = files_to_send(path, failures[1:], (), ())
    assert not nothing
    assert "Nothing can be sent again as it is" in messages[0]


# --- all of it ---


def fail_in_every_way(marketplace: Marketplace) -> dict[str, str]:
    """Let each customer fail for a reason of the table; return the reasons by customer."""
    reasons = {f"c-{number}": reason for number, reason in enumerate(REASONS)}
    for customer, reason in reasons.items():
        if reason in {"CustomerNotSubscribed", "DuplicateRecord", "Unprocessed"}:
            marketplace.failures[customer] = {"m": reason}
        else:
            fields = {} if reason == "Unknown" else {"name": reason}
            marketplace.failures[customer] = MeteringError(fields, was_billed=reason == "TimeoutError")
    return reasons


def corrected(line: dict[str, str], reason: str) -> list[dict[str, str]]:
    """Correct a line of a failures file as the messages say."""
    if reason == "InvalidUsageDimensionException":
        return [line | {"dimension_name": "right"}]
    if reason == "InvalidCustomerIdentifierException":
        right = line | {"customerIdentifier": f"right-{line['customerIdentifier']}"}
        return [line | {"dimension_value": "0"}, right]
    # The seller has looked it up: AWS had billed what ended with a time-out.
    return [line | {"dimension_value": "0"}] if reason == "TimeoutError" else [line]


def send(api: Api, lines: list[dict[str, str]]) -> None:
    buyers = [
        {
            "customerIdentifier": line["customerIdentifier"],
            "metered_dimensions": [
                {"dimension_name": line["dimension_name"], "dimension_value": int(line["dimension_value"])}
            ],
            "transaction_id": line["transaction_id"],
        }
        for line in lines
    ]
    assert api.insert_many({"buyers": buyers}).status == 200


def test_usage_failed_in_every_way_is_billed_once_and_the_report_clean(
    dynamodb: DynamoDBClient, stored: StoredItems, tmp_path: Path
) -> None:
    api, marketplace = Api(), Marketplace()
    job = HourlyJob(dynamodb, METERING_TABLE_NAME, marketplace)
    reasons = fail_in_every_way(marketplace)
    recorded_at = api.request_time - MS_OF_A_DAY
    for number, customer in enumerate(reasons):
        stored.put(**pending(customer, recorded_at + number, m=5, n=7))
    job.run()

    def report(path: Path, *arguments: str) -> int:
        every_reason = [word for reason in DOUBTFUL for word in ("--reason", reason)]
        options = [*TABLES, "--send-again", str(path), *every_reason, *arguments]
        return CliRunner().invoke(report_command, options, catch_exceptions=False).exit_code

    assert report(tmp_path / "some.csv", "--to", str(recorded_at + len(reasons) // 2)) == 1
    assert report(tmp_path / "all.csv") == 1
    for _ in range(2):
        for path in sorted(tmp_path.iterdir()):
            lines = list(csv.DictReader(path.read_text().splitlines()))
            send(api, [one for line in lines for one in corrected(line, reasons[line["customerIdentifier"]])])
    unknown = next(name for name, reason in reasons.items() if reason == "InvalidCustomerIdentifierException")
    # A customer that AWS does not know stays unknown, with a quantity of 0 too.
    marketplace.failures = {unknown: marketplace.failures[unknown]}
    while job.run():
        pass

    billed = marketplace.metered + marketplace.metered_unanswered
    wanted = {
        (f"right-{customer}" if customer == unknown else customer, dimension): quantity
        for customer in reasons
        for dimension, quantity in (("m", 5), ("n", 7))
    }
    right = next(name for name, reason in reasons.items() if reason == "InvalidUsageDimensionException")
    wanted[right, "right"] = wanted.pop((right, "m")) + wanted.pop((right, "n"))
    assert +billed == wanted
    assert report(tmp_path / "later.csv") == 0
    assert not (tmp_path / "later.csv").exists()
