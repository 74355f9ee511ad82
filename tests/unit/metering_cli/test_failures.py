"""Failed usage is sent again once, if AWS certainly did not bill it, and then no longer counts as open."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from metering_cli.reporting.failures import FEWEST_DAYS_KNOWN, Failure, State, set_states
from metering_cli.reporting.reasons import REASONS, reason_of
from metering_cli.reporting.send_again import DOUBTFUL, FileInUseError, files_to_send
from tests.environment import METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import Api
from tests.unit.metering_cli.metering_items import LICENSE_ARN, MS_OF_A_DAY, pending, report
from tools.local_cloud.hourly_job import HourlyJob, Marketplace, MeteringError

NOW = datetime(2026, 11, 26, tzinfo=UTC)
SENT = {
    *("CustomerNotSubscribed", "Unprocessed", "ThrottlingException", "TimestampOutOfBoundsException"),
    *("RequestExpired", "ExpiredTokenException"),
}
IN_DOUBT = {
    *("DuplicateRecord", "Unknown", "InternalServiceErrorException", "InternalFailure", "TimeoutError"),
    *("ServiceUnavailable", "ServiceUnavailableException", "NetworkingError", "ECONNRESET"),
}
FILE = Path("failed.csv")
TO_CORRECT = Path("failed-to-correct.csv")


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


def lines(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(content.decode().splitlines(keepends=True)))


def divided(
    failures: Sequence[Failure], dimensions: Sequence[str] = (), not_billed: Sequence[str] = ()
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the lines to send and those to correct; no file of that name is here."""
    files, _ = files_to_send(FILE, failures, not_billed, dimensions)
    return lines(files.get(FILE, b"")), lines(files.get(TO_CORRECT, b""))


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


def test_only_what_is_open_and_certainly_not_billed_is_written() -> None:
    unlisted = ("ECONNREFUSED", "SomethingNewException")
    failures = [
        failure(reason, customer=f"{reason}.{state.name}", dimension='=m,"n', state=state)
        for reason in (*REASONS, *unlisted)
        for state in State
    ]

    def customers(lines: Sequence[dict[str, str]]) -> list[str]:
        return sorted(line["customerIdentifier"] for line in lines)

    def still_open(reasons: Iterable[str]) -> list[str]:
        return sorted(f"{reason}.{state}" for reason in reasons for state in ("OPEN", "UNKNOWN"))

    send, correct = divided(failures)
    told, _ = divided(failures, not_billed=["TimeoutError", *unlisted])

    assert customers(send) == still_open(SENT)
    assert customers(told) == still_open([*SENT, "TimeoutError", *unlisted])
    assert customers(correct) == still_open(REASONS.keys() - SENT - IN_DOUBT)
    # As they are, without the apostrophe of other files.
    assert {line["dimension_name"] for line in send + correct} == {'=m,"n'}
    assert all(line["to_correct"] == reason_of(line["reason"]).to_do for line in correct)
    assert sorted(IN_DOUBT) == DOUBTFUL
    assert all(reason.source.startswith("https://docs.aws.amazon.com/") for reason in REASONS.values())


def test_usage_that_would_be_refused_again_is_kept_apart() -> None:
    """Known dimensions of a call that was refused for another one can be sent as they are."""
    refused = "InvalidUsageDimensionException"
    by_hand = [failure(customer="a b", quantity=1.5), failure(dimension=None)]
    failures = [failure(refused), failure(refused, dimension="typo"), failure(dimension="odd"), *by_hand]

    send, correct = divided(failures, dimensions=["m", "n"])
    none, all_of_the_call = divided(failures[:2])

    assert [line["dimension_name"] for line in send] == ["m"]
    assert [(line["dimension_name"], line["to_correct"]) for line in correct] == [
        ("typo", "This dimension is not in params.dimensions: correct it."),
        ("odd", "This dimension is not in params.dimensions: correct it."),
        (
            "m",
            "The API refuses it: customerIdentifier must consist of printable ASCII characters without white"
            " space; dimension_value input should be a valid integer",
        ),
        ("", "The API refuses it: dimension_name input should be a valid string"),
    ]
    assert (none, [line["dimension_name"] for line in all_of_the_call]) == ([], ["m", "typo"])


# --- the files ---


def test_an_edited_file_is_not_overwritten(tmp_path: Path) -> None:
    failures = [failure(), failure("ValidationException")]
    files, _ = files_to_send(tmp_path / FILE, failures, (), ())
    for file, content in files.items():
        file.write_bytes(content)
    assert files_to_send(tmp_path / FILE, failures, (), ())[0] == files
    (tmp_path / TO_CORRECT).write_text("edited")

    with pytest.raises(FileInUseError, match="has other lines"):
        files_to_send(tmp_path / FILE, failures, (), ())


def test_the_messages_say_what_is_left_out_and_quote_the_path(tmp_path: Path) -> None:
    path = tmp_path / "failed usage.csv"
    old = failure(days_ago=100, state=State.TOO_OLD)
    in_doubt = [failure("TimeoutError", customer=f"c{number}") for number in range(22)]

    files, messages = files_to_send(path, [failure(), *in_doubt, old], (), ())
    nothing, (said, *_) = files_to_send(path, in_doubt, (), ())

    assert list(files) == [path]
    assert len(files_to_send(path, [failure()], (), ())[1]) == 2
    assert messages[0].startswith("1 line to send again.")
    assert messages[0].endswith(f"metering import '{path}'")
    assert messages[1].startswith("Never change the customer")
    assert messages[2].startswith(
        "NOT written, because AWS may have billed them: 22 failures (TimeoutError 22).\n"
        f"  c0 {in_doubt[0].created} m 1 (TimeoutError)\n"
    )
    assert f"\n  c19 {in_doubt[0].created} m 1 (TimeoutError)\n  and 2 more\nCheck what AWS" in messages[2]
    assert messages[3].endswith("too late to tell whether they were sent again: 1 failure.")
    assert not nothing
    assert said == "Nothing can be sent again as it is; failed usage.csv was not written."


# --- all of it ---

CORRECTIONS: dict[str, list[dict[str, str]]] = {
    "sent": [{}],
    "typo": [{"dimension_name": "right"}],
    "unknown": [{"dimension_value": "0"}, {"customerIdentifier": "known"}],
    # The seller has looked it up: AWS had billed it.
    "lost": [{"dimension_value": "0"}],
}
"""What the seller changes in the lines of each customer, as the messages say."""


def entry(line: dict[str, str]) -> dict[str, object]:
    used = {"dimension_name": line["dimension_name"], "dimension_value": int(line["dimension_value"])}
    ids = {name: line[name] for name in ("customerIdentifier", "transaction_id")}
    return {**ids, "metered_dimensions": [used]}


def test_usage_failed_in_every_way_is_billed_once_and_the_report_clean(
    dynamodb: DynamoDBClient, stored: StoredItems, tmp_path: Path
) -> None:
    api, marketplace = Api(), Marketplace()
    job = HourlyJob(dynamodb, METERING_TABLE_NAME, marketplace)
    marketplace.failures = {
        "sent": {"m": "Unprocessed"},
        "typo": MeteringError({"name": "InvalidUsageDimensionException"}),
        "unknown": MeteringError({"name": "InvalidCustomerIdentifierException"}),
        "lost": MeteringError({"name": "TimeoutError"}, was_billed=True),
    }
    recorded_at = api.request_time - MS_OF_A_DAY
    for number, customer in enumerate(CORRECTIONS):
        stored.put(**pending(customer, recorded_at + number, m=5, n=7))
    job.run()

    some = report("--send-again", tmp_path / "some.csv", "--reason", "TimeoutError", "--to", recorded_at + 2)
    everything = report("--send-again", tmp_path / "all.csv", "--reason", "TimeoutError")
    for path in [*tmp_path.iterdir(), *tmp_path.iterdir()]:
        entries = [
            entry(line | change)
            for line in lines(path.read_bytes())
            for change in CORRECTIONS[line["customerIdentifier"]]
        ]
        assert api.insert_many({"buyers": entries}).status == 200
    # A customer that AWS does not know stays unknown, with a quantity of 0 too.
    marketplace.failures = {"unknown": marketplace.failures["unknown"]}
    while job.run():
        pass
    later = report("--send-again", tmp_path / "later.csv")

    assert +(marketplace.metered + marketplace.metered_unanswered) == {
        **{(customer, "m"): 5 for customer in ("sent", "known", "lost")},
        **{(customer, "n"): 7 for customer in ("sent", "known", "lost")},
        ("typo", "right"): 12,
    }
    assert [one.exit_code for one in (some, everything, later)] == [1, 1, 0]
    assert len(list(tmp_path.iterdir())) == 4
