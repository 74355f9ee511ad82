"""The result of a chunk, as its row stores it."""

from hypothesis import given
from hypothesis import strategies as st

from metering_handlers.inserting.canonical_form import CanonicalEntry
from metering_handlers.inserting.division import Chunk, Piece
from metering_handlers.inserting.progress import Known, Progress

NOW = 1_795_446_956_551
YEARS_MS = 4 * 365 * 86_400_000


def entry(transaction_id: str, customer: str = "c", sent: int = 1) -> CanonicalEntry:
    return CanonicalEntry(customer, transaction_id, {"m": 1}, sent)


@st.composite
def progresses(draw: st.DrawFn) -> Progress:
    """Draw the progress of a chunk, at the request time ``NOW``."""
    chunk: Chunk = []
    for number in range(draw(st.integers(1, 5))):
        without_id = draw(st.booleans())
        with_id = draw(st.integers(0 if without_id else 1, 5))
        ids = ([""] if without_id else []) + [f"t{index}" for index in range(with_id)]
        chunk.append(Piece(f"c{number}", 0, [entry(each, f"c{number}") for each in ids]))
    progress = Progress(chunk, {piece: NOW + draw(st.integers(0, 10_000)) for piece in chunk})
    with_ids = [each for piece in chunk for each in piece.with_id]
    for known in draw(st.sets(st.sampled_from(with_ids))) if with_ids else ():
        progress.known[known] = Known(NOW + draw(st.integers(-YEARS_MS, YEARS_MS)), draw(st.booleans()))
    return progress


@given(progresses())
def test_a_replay_reads_what_was_written(progress: Progress) -> None:
    decoded = Progress.from_bytes(progress.chunk, progress.to_bytes(NOW), NOW)

    assert list(decoded.record_keys) == list(progress.record_keys)
    assert sorted(decoded.duplicates, key=str) == sorted(progress.duplicates, key=str)
    assert decoded.written == progress.written
    assert decoded.entries_sent == progress.entries_sent


def test_the_result_takes_5_bytes_a_value() -> None:
    """Rows of other releases are read: another form needs another division."""
    known, new = entry("t1"), entry("t2")
    piece = Piece("c", 0, [entry(""), known, new])
    only_known = Piece("d", 0, [entry("t3", "d")])
    progress = Progress(
        [piece, only_known],
        {piece: NOW + 2, only_known: NOW},
        known={known: Known(NOW - 1_000, differs=True), only_known.entries[0]: Known(NOW, differs=False)},
    )

    assert progress.to_bytes(NOW).hex(" ", 5) == " ".join(
        ["0000000003", f"{2 * (2**37 - 1_000) + 1:010x}", "0000000000", "0000000000", f"{2 * 2**37:010x}"]
    )


def test_a_row_of_an_impossible_age_stops_no_insert() -> None:
    """Only a row changed by hand is as old as that; its entry stays a duplicate."""
    known = entry("t1")
    piece = Piece("c", 0, [known])
    progress = Progress([piece], {piece: NOW}, known={known: Known(0, differs=False)})

    decoded = Progress.from_bytes([piece], progress.to_bytes(NOW), NOW)

    assert list(decoded.known) == [known]
