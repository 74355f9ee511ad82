"""What was committed: each transaction is checked against the rules, and kept for comparison."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metering_handlers.contract.limits import MAX_TIMESTAMP
from tests.environment import IDEMPOTENCY_TABLE_NAME, METERING_TABLE_NAME
from tests.unit.faults.engine import Put
from tests.unit.faults.schedules import GRACE_S, Deployment, Unit

RecordKey = tuple[str, int]
Group = tuple[str, str]
"""Customer and transaction id."""

SUM = "sum"
"""A dimension of every unit, which is therefore added up; that of its own tells units apart."""
_DAY_S = 86_400
_MAX_AHEAD_MS = 10_000


@dataclass(frozen=True)
class Sent:
    """A request as it was sent."""

    key: str | None
    """The idempotency key: the header, or else the extended request id; None if it has no rows."""
    units: Counter[int]
    """How often it has each unit."""
    request_id: str
    time_ms: int
    deployment: Deployment


@dataclass(eq=False)
class Use:
    """One use of a key: all chunks that were written under it until it expired."""

    units: Counter[int]
    earliest_ms: int
    """Of the times of the requests that wrote chunks: by its own, each judges which ids are known."""
    expires_at: int
    deployment: Deployment
    stored: Counter[int] = field(default_factory=Counter)
    """Units without id."""
    chunks: set[int] = field(default_factory=set)
    records: list[RecordKey] = field(default_factory=list)
    answer: Mapping[str, Any] | None = None
    """What acknowledged it, with the records' keys."""

    @property
    def resume_until(self) -> int:
        return self.expires_at - GRACE_S

    def is_of_release(self, deployment: Deployment) -> bool:
        return self.deployment.release is deployment.release


@dataclass(frozen=True, eq=False)
class Known:
    """An id that is known: the unit that was stored, and where."""

    unit: int
    record: RecordKey
    expires_at: int
    by: Use | str
    """What stored it: a use of a key, or a request without rows, by its id."""


def _row_id(customer: str, transaction_id: str) -> str:
    """Return the id of an entry's row, as it is written down: no release may change it."""
    parts = [(len(text).to_bytes(4), text.encode()) for text in (customer, transaction_id)]
    return hashlib.sha256(b"".join(part for pair in parts for part in pair)).hexdigest()


class Ledger:
    """Everything that was committed in a schedule."""

    def __init__(self, units: Sequence[Unit], tally: Counter[str]) -> None:
        self._units = units
        self._tally = tally
        self._groups = {_row_id(*group): group for group in filter(None, map(self.group, range(len(units))))}
        self.items: dict[RecordKey, Mapping[str, int]] = {}
        self.uses: dict[str, list[Use]] = {}
        self.known: dict[Group, list[Known]] = {}
        self.by_request: dict[str, list[RecordKey]] = {}
        """Records by the id of the request that wrote them."""

    def customer(self, unit: int) -> str:
        return f"c{self._units[unit].customer}"

    def group(self, unit: int) -> Group | None:
        number = self._units[unit].transaction_id
        return None if number is None else (self.customer(unit), f"t{number}")

    def is_refused(self, sent: Sent) -> bool:
        """Return whether what is deployed does not accept a request, unless it is half written."""
        customers = {self._units[unit].customer for unit in sent.units}
        return sent.deployment.lacks in sent.units or sent.deployment.lacks_customer in customers

    def uses_at(self, key: str, time_ms: int) -> list[Use]:
        """Return the uses of a key that have not expired."""
        return [use for use in self.uses.get(key, ()) if use.expires_at >= time_ms // 1000]

    def known_at(self, unit: int, time_ms: int) -> list[Known]:
        """Return what is remembered of a unit's id."""
        group = self.group(unit)
        assert group
        return [known for known in self.known.get(group, ()) if known.expires_at >= time_ms // 1000]

    def is_stored(self, unit: int, times: int, use: Use | None, time_ms: int) -> bool:
        """Return whether a unit of a request, or of a use of its key, is in the table that many times."""
        if self.group(unit):
            # What was known when a chunk was written may have expired before a later one, or a replay.
            return bool(self.known_at(unit, use.earliest_ms if use else time_ms))
        return use is not None and use.stored[unit] == times

    @property
    def times(self) -> Counter[int]:
        """How often each unit is in the table."""
        times = Counter(known.unit for group in self.known.values() for known in group)
        for uses in self.uses.values():
            for use in uses:
                times.update(use.stored)
        return times

    def commit(self, sent: Sent, puts: Sequence[Put]) -> None:
        """Take down a transaction, if it breaks no rule."""
        records: dict[RecordKey, dict[str, int]] = {}
        rows: list[Mapping[str, Any]] = []
        for put in puts:
            item = put["Item"]
            if put["TableName"] == IDEMPOTENCY_TABLE_NAME:
                rows.append(item)
                continue
            assert put["TableName"] == METERING_TABLE_NAME
            key = item["customerIdentifier"]["S"], int(item["create_timestamp"]["N"])
            records[key] = {
                used["M"]["dimension"]["S"]: int(used["M"]["value"]["N"])
                for used in item["dimension_usage"]["L"]
            }
        by = self._used(sent, [row for row in rows if "#" in row["id"]["S"]])
        ids = self._learn(sent, by, records, [row for row in rows if "#" not in row["id"]["S"]])
        for key, quantities in records.items():
            self._add(sent, by, key, quantities, ids)

    def _used(self, sent: Sent, rows: Sequence[Mapping[str, Any]]) -> Use | str:
        """Note the row of the request; return what the transaction belongs to."""
        if sent.key is None:
            assert not rows, "a row of a request without a key"
            assert not self.is_refused(sent), "what is deployed does not accept it"
            return sent.request_id
        (row,) = rows
        key, _, number = row["id"]["S"].rpartition("#")
        expires_at = int(row["expires_at"]["N"])
        assert key == sent.key
        uses = self.uses.setdefault(key, [])
        if number == "0":
            assert not self.uses_at(key, sent.time_ms), "a key that is remembered was taken"
            assert not self.is_refused(sent), "what is deployed does not accept it"
            hours = sent.deployment.idempotency_hours
            assert expires_at == sent.time_ms // 1000 + hours * 3600 + GRACE_S
            self._tally["keys used again after their expiry"] += bool(uses)
            uses.append(Use(sent.units, sent.time_ms, expires_at, sent.deployment))
        (use,) = [use for use in uses if use.expires_at == expires_at]
        assert use.units == sent.units, "two payloads under one key"
        assert use.is_of_release(sent.deployment), "two releases under one key"
        assert int(number) not in use.chunks, "a chunk was written twice"
        use.chunks.add(int(number))
        use.earliest_ms = min(use.earliest_ms, sent.time_ms)
        return use

    def _learn(
        self, sent: Sent, by: Use | str, records: Collection[RecordKey], rows: Iterable[Mapping[str, Any]]
    ) -> set[tuple[RecordKey, int]]:
        """Note the rows of entries; return which units are known to be in which record."""
        learned: set[tuple[RecordKey, int]] = set()
        for row in rows:
            group = self._groups[row["id"]["S"]]
            record = row["customerIdentifier"]["S"], int(row["create_timestamp"]["N"])
            assert record[0] == group[0]
            assert record in records, "an entry's row without its record"
            (unit,) = [unit for unit in sent.units if self.group(unit) == group]
            if self.known_at(unit, sent.time_ms):
                self._tally["doubled"] += 1
                raise AssertionError(f"the id {group} is remembered, and was written again")
            expires_at = int(row["expires_at"]["N"])
            assert expires_at == sent.time_ms // 1000 + sent.deployment.transaction_id_days * _DAY_S + GRACE_S
            generations = self.known.setdefault(group, [])
            self._tally["ids used again after their expiry"] += bool(generations)
            self._tally["entries with an id written"] += 1
            generations.append(Known(unit, record, expires_at, by))
            learned.add((record, unit))
        return learned

    def _add(
        self,
        sent: Sent,
        by: Use | str,
        key: RecordKey,
        quantities: Mapping[str, int],
        with_id: set[tuple[RecordKey, int]],
    ) -> None:
        customer, timestamp = key
        assert key not in self.items, "a record was overwritten"
        ahead_ms = timestamp - sent.time_ms
        assert 0 <= ahead_ms <= _MAX_AHEAD_MS, f"{ahead_ms} ms ahead of the request"
        assert timestamp <= MAX_TIMESTAMP
        self._tally["records stamped 1 s or more after their request"] += ahead_ms >= 1_000
        times = {int(name[1:]): quantity for name, quantity in quantities.items() if name != SUM}
        assert times, "an empty record"
        assert quantities[SUM] == sum((unit + 1) * count for unit, count in times.items())
        for unit, count in times.items():
            assert self.customer(unit) == customer
            if self.group(unit):
                assert count == 1
                assert (key, unit) in with_id, "usage with an id, without the row of its entry"
                continue
            assert isinstance(by, Use)
            by.stored[unit] += count
            self._tally["doubled"] += by.stored[unit] > by.units[unit]
            assert by.stored[unit] == by.units[unit], "usage without id, in part or twice"
        assert {unit for record, unit in with_id if record == key} <= set(times), "a row without its usage"
        self.items[key] = quantities
        self.by_request.setdefault(sent.request_id, []).append(key)
        if isinstance(by, Use):
            by.records.append(key)
