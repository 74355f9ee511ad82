"""The pace of a request that DynamoDB throttles: the rate of the busiest partition, with a random backoff."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from metering_handlers.dynamodb import random_backoff_ms, spare_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from metering_handlers.inserting.progress import Progress

PARTITION_WRITE_UNITS = 1_000
"""Units per second of one partition (Amazon DynamoDB Developer Guide, "Burst and adaptive capacity")."""
_RECORD_BYTES = 320
"""Size of a record without its dimensions: attribute names, and ids of the usual lengths."""
_DIMENSION_BYTES = 32
"""Size of a dimension without its name: attribute names, value, and the overhead of a map."""


class Pace:
    """Spreads the chunks of one request over time, from the first time that one is throttled.

    A cancelled transaction consumes capacity too, so retrying too early wastes what the retry waits for. Once
    throttled, a request writes one chunk at a time, at the rate of one partition, and adds a random backoff
    as long as it keeps being throttled. ``remaining_ms`` returns the function's remaining time.
    """

    def __init__(self, remaining_ms: Callable[[], int]) -> None:
        self._remaining_ms = remaining_ms
        self._lock = threading.Lock()
        self._next_start = 0.0
        self._throttled_in_a_row = 0

    def start(self, progress: Progress) -> None:
        """Wait for a chunk's turn, if the request was throttled before."""
        if self._next_start:
            self._await_capacity(progress)

    def throttled(self, progress: Progress) -> None:
        """Note that a chunk was throttled, and wait for its next turn."""
        self._throttled_in_a_row += 1
        self._await_capacity(progress)

    def written(self) -> None:
        """Note that a chunk was written."""
        self._throttled_in_a_row = 0

    def sleep(self, delay_ms: float) -> None:
        """Wait, but not beyond the time in which one more attempt can be made."""
        time.sleep(min(delay_ms, max(0, spare_ms(self._remaining_ms))) / 1000)

    def _await_capacity(self, progress: Progress) -> None:
        """Wait until the busiest partition has capacity for this chunk and for those before it."""
        now = time.monotonic()
        backoff_ms = random_backoff_ms(self._throttled_in_a_row) if self._throttled_in_a_row else 0
        with self._lock:
            seconds = _partition_seconds(progress) + backoff_ms / 1000
            self._next_start = start = max(now, self._next_start) + seconds
        self.sleep((start - now) * 1000)


def _partition_seconds(progress: Progress) -> float:
    """Return the seconds that the busiest partition needs for a chunk of a throttled request.

    A record takes a unit for each KB, rounded up; its size here is an upper estimate, by the rules of the
    Amazon DynamoDB Developer Guide ("DynamoDB item sizes and formats"). It is in one partition of the table,
    where a transactional write consumes two units per KB ("Read and write capacity"). All records are in one
    partition of the index, at one unit per KB. A transaction that is rejected because of the index consumes
    nothing of it, so requests run a quarter faster than its rate, which uses the burst capacity saved while
    they waited.
    """
    units = []
    for piece in progress.chunk:
        names = {name for entry in progress.to_write(piece) for name in entry.quantities}
        size = _RECORD_BYTES + sum(len(name.encode()) + _DIMENSION_BYTES for name in names)
        units.append(-(-size // 1024))
    return max(sum(units) / 1.25, *(2 * each for each in units)) / PARTITION_WRITE_UNITS
