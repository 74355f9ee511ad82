"""The result of a chunk, as its row stores it."""

from hypothesis import given
from hypothesis import strategies as st

from metering_handlers.inserting.canonical_form import CanonicalEntry
from metering_handlers.inserting.division import Chunk, Piece
from metering_handlers.inserting.progress import Known, Progress
from metering_handlers.inserting.rows import EntryRow

NOW = 1_795_446_956_551
YEARS_MS = 4 * 365 * 86_400_000


def entry(transaction_id: str, customer: str = "c") -> CanonicalEntry:
    return CanonicalEntry(customer, transaction_id, {"m": 1}, 1)


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
    known, new, alone = entry("t1"), entry("t2"), entry("t3", "d")
    piece, only_known = Piece("c", 0, [entry(""), known, new]), Piece("d", 0, [alone])
    slots = {piece: NOW + 2, only_known: NOW}
    all_known = {known: Known(NOW - 1_000, differs=True), alone: Known(NOW, differs=False)}

    values = [3, 2 * (2**37 - 1_000) + 1, 0, 0, 2 * 2**37]
    encoded = b"".join(value.to_bytes(5) for value in values)
    assert Progress([piece, only_known], slots, known=all_known).to_bytes(NOW) == encoded


def test_a_row_of_an_impossible_age_stops_no_insert() -> None:
    """Only a row changed by hand is as old as that; its entry stays a duplicate."""
    known = entry("t1")
    piece = Piece("c", 0, [known])
    progress = Progress([piece], {piece: NOW}, known={known: Known(0, differs=False)})

    assert list(Progress.from_bytes([piece], progress.to_bytes(NOW), NOW).known) == [known]


def test_an_entry_that_this_request_wrote_is_no_duplicate() -> None:
    mine, known, new = entry("mine"), entry("known"), entry("new")
    piece = Piece("c", 0, [mine, known, new])
    progress = Progress([piece], {piece: NOW})
    mine_row = EntryRow("", "c", mine.digest, NOW + 7, "me", 0)

    progress.note({mine: mine_row, known: EntryRow("", "c", "another digest", NOW - 5, "other", 0)}, "me")

    assert progress.to_write(piece) == [new]
    assert progress.slots == {piece: NOW + 7}
    assert progress.known == {known: Known(NOW - 5, differs=True)}
