"""What was sent and committed: each transaction is checked against the rules, and kept for comparison."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metering_handlers.contract.limits import MAX_TIMESTAMP
from tests.environment import METERING_TABLE_NAME
from tests.unit.faults.engine import Put
from tests.unit.faults.schedules import GRACE_S, Call, Deployment, Release, Unit

RecordKey = tuple[str, int]
Group = tuple[str, str]
"""Customer and transaction id."""
Quantities = Counter[tuple[str, str]]
"""By customer and dimension."""

SUM = "sum"
"""A dimension of every unit, which is therefore added up; that of its own tells units apart."""
_MAX_AHEAD_MS = 10_000


@dataclass(frozen=True, eq=False)
class Sent:
    """A request as it was sent."""

    call: Call
    flawed: bool
    key: str | None
    """The idempotency key: the header, or else the extended request id; None if it has no rows."""
    units: Counter[int]
    """How often it has each unit."""
    request_id: str
    time_ms: int
    deployment: Deployment
    uses_before: int
    """How many uses of the key were over, or under way, when it was sent."""

    @property
    def has_header(self) -> bool:
        return self.key not in (None, self.request_id)

    def new_use(self, expires_at: int = 0) -> Use:
        """Begin a use of its key."""
        return Use(self.units, self.deployment.release, self.time_ms, expires_at)


@dataclass(eq=False)
class Use:
    """One use of a key: all chunks that were written under it until it expired; or a request without rows."""

    units: Counter[int]
    release: Release
    earliest_ms: int
    """Of the times of the requests that wrote chunks: by its own, each judges which ids are known."""
    expires_at: int = 0
    stored: Counter[int] = field(default_factory=Counter)
    """Units without id."""
    chunks: set[str] = field(default_factory=set)
    records: list[RecordKey] = field(default_factory=list)
    duplicates: Sequence[Mapping[str, Any]] | None = None
    """Those that were told when it was acknowledged."""


class Known(NamedTuple):
    """An id that is known: the unit that was stored, where, and by which use."""

    unit: int
    record: RecordKey
    expires_at: int
    by: Use


def _row_id(customer: str, transaction_id: str) -> str:
    """Return the id of an entry's row, as it is written down: no release may change it."""
    parts = [len(text).to_bytes(4) + text.encode() for text in (customer, transaction_id)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def key_of(item: Mapping[str, Any]) -> RecordKey:
    """Return the key of a record, or the one that an entry's row holds."""
    return item["customerIdentifier"]["S"], int(item["create_timestamp"]["N"])


def quantities_of(record: Mapping[str, Any]) -> Counter[str]:
    """Return a record's usage by dimension."""
    used = [each["M"] for each in record["dimension_usage"]["L"]]
    return Counter({each["dimension"]["S"]: int(each["value"]["N"]) for each in used})


class Ledger:
    """Everything that was committed in a schedule."""

    def __init__(self, units: Sequence[Unit], tally: Counter[str]) -> None:
        self._units = units
        self._tally = tally
        self._groups = {_row_id(*group): group for group in filter(None, map(self.group, range(len(units))))}
        self._without_rows: dict[str, Use] = {}
        """By the id of the request."""
        self.items: dict[RecordKey, Mapping[str, int]] = {}
        self.uses: defaultdict[str, list[Use]] = defaultdict(list)
        """By their key."""
        self.known: defaultdict[Group | None, list[Known]] = defaultdict(list)

    def customer(self, unit: int) -> str:
        return f"c{self._units[unit].customer}"

    def group(self, unit: int) -> Group | None:
        number = self._units[unit].transaction_id
        return None if number is None else (self.customer(unit), f"t{number}")

    def quantities(self, times: Mapping[int, int]) -> Quantities:
        """Return what so many times each unit is."""
        sums = Quantities()
        for unit, count in times.items():
            customer = self.customer(unit)
            sums.update({(customer, f"d{unit}"): count, (customer, SUM): (unit + 1) * count})
        return sums

    @property
    def times(self) -> Counter[int]:
        """How often each unit is in the table."""
        times = Counter(known.unit for group in self.known.values() for known in group)
        for use in (use for uses in self.uses.values() for use in uses):
            times.update(use.stored)
        return times

    def is_refused(self, sent: Sent) -> bool:
        """Return whether what is deployed does not accept a request, unless it is half written."""
        customers = {self._units[unit].customer for unit in sent.units}
        return sent.deployment.lacks in sent.units or sent.deployment.lacks_customer in customers

    def uses_at(self, key: str | None, time_ms: int) -> list[Use]:
        """Return the uses of a key that have not expired."""
        return [use for use in self.uses[key] if use.expires_at >= time_ms // 1000] if key else []

    def uses_of(self, sent: Sent) -> list[Use]:
        """Return the uses of its key that a request may belong to; without rows it is one by itself."""
        if sent.key is None:
            return [self._without_rows.setdefault(sent.request_id, sent.new_use())]
        # Of the uses that there were, only the last has its first row.
        possible = self.uses[sent.key][max(0, sent.uses_before - 1) :]
        live = self.uses_at(sent.key, sent.time_ms)
        return [use for use in possible if use in live and use.units == sent.units]

    def known_at(self, unit: int, time_ms: int) -> list[Known]:
        """Return what is remembered of a unit's id."""
        return [known for known in self.known[self.group(unit)] if known.expires_at >= time_ms // 1000]

    def stored(self, use: Use) -> int:
        """Return how many entries of a use are in the table."""
        # What was known when a chunk was written may have expired before a later one, or a replay.
        return sum(
            count
            for unit, count in use.units.items()
            if (self.known_at(unit, use.earliest_ms) if self.group(unit) else use.stored[unit] == count)
        )

    def commit(self, sent: Sent, puts: Sequence[Put]) -> None:
        """Take down a transaction, if it breaks no rule."""
        assert len(puts) <= sent.deployment.release.value[0], "a transaction too large"
        items = [put["Item"] for put in puts if put["TableName"] == METERING_TABLE_NAME]
        rows = [put["Item"] for put in puts if put["TableName"] != METERING_TABLE_NAME]
        use = self._use(sent, [row for row in rows if "#" in row["id"]["S"]])
        entries: defaultdict[RecordKey, Counter[int]] = defaultdict(Counter)
        for row in rows:
            if "#" not in row["id"]["S"]:
                known = self._learn(sent, use, row)
                entries[known.record][known.unit] += 1
        for item in items:
            self._add(sent, use, item, entries.pop(key_of(item), Counter()))
        assert not entries, "an entry's row without its record"

    def _use(self, sent: Sent, rows: Sequence[Mapping[str, Any]]) -> Use:
        """Note the row of the request; return the use that the transaction belongs to."""
        if sent.key is None:
            assert not rows, "a row of a request without a key"
            assert not self.is_refused(sent), "what is deployed does not accept it"
            return self.uses_of(sent)[0]
        (row,) = rows
        key, _, number = row["id"]["S"].rpartition("#")
        expires_at = int(row["expires_at"]["N"])
        assert key == sent.key
        uses = self.uses[key]
        if number == "0":
            assert not self.uses_at(key, sent.time_ms), "doubled: a key that is remembered was taken"
            assert not self.is_refused(sent), "what is deployed does not accept it"
            assert expires_at == sent.time_ms // 1000 + sent.deployment.idempotency_hours * 3600 + GRACE_S
            self._tally["keys used again after their expiry"] += bool(uses)
            uses.append(sent.new_use(expires_at))
        (use,) = [use for use in uses if use.expires_at == expires_at]
        assert use.units == sent.units, "two payloads under one key"
        assert use.release is sent.deployment.release, "two releases under one key"
        assert number not in use.chunks, "doubled: a chunk was written twice"
        use.chunks.add(number)
        use.earliest_ms = min(use.earliest_ms, sent.time_ms)
        return use

    def _learn(self, sent: Sent, use: Use, row: Mapping[str, Any]) -> Known:
        """Note the row of an entry."""
        group = self._groups[row["id"]["S"]]
        (unit,) = [unit for unit in sent.units if self.group(unit) == group]
        assert not self.known_at(unit, sent.time_ms), f"doubled: {group} is remembered, and written again"
        known = Known(unit, key_of(row), int(row["expires_at"]["N"]), use)
        days = sent.deployment.transaction_id_days
        assert known.expires_at == sent.time_ms // 1000 + days * 86_400 + GRACE_S
        self._tally["ids used again after their expiry"] += bool(self.known[group])
        self._tally["entries with an id written"] += 1
        self.known[group].append(known)
        return known

    def _add(self, sent: Sent, use: Use, item: Mapping[str, Any], entries: Counter[int]) -> None:
        """Note a record: it has what its entries' rows say, and maybe all of its customer's without id."""
        key, quantities = key_of(item), quantities_of(item)
        customer, timestamp = key
        assert key not in self.items, "lost: a record was overwritten"
        ahead_ms = timestamp - sent.time_ms
        assert 0 <= ahead_ms <= _MAX_AHEAD_MS, f"{ahead_ms} ms ahead of the request"
        assert timestamp <= MAX_TIMESTAMP
        self._tally["records stamped 1 s or more after their request"] += ahead_ms >= 1_000
        without_id = Counter(
            {
                unit: count
                for unit, count in sent.units.items()
                if self.customer(unit) == customer and not self.group(unit)
            }
        )
        if any(f"d{unit}" in quantities for unit in without_id):
            use.stored += without_id
            assert use.stored <= use.units, "doubled: usage without id"
            entries += without_id
        assert entries, "an empty record"
        assert {(customer, name): n for name, n in quantities.items()} == self.quantities(entries)
        self.items[key] = quantities
        use.records.append(key)
