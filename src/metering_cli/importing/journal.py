"""The journal beside the CSV file, which prevents an import from sending the same usage twice.

It is an append-only file of JSON lines. An entry is flushed to disk before a request is sent, and another one
after its response has arrived, so that every request that may have reached the API is known.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Annotated, Literal

import portalocker
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RequestEvent = Literal["sending", "written", "not_written", "settled"]

RESEND_WITHIN = timedelta(hours=23)
"""Time within which a request may be repeated: the API remembers its key for 24 h, and clocks differ."""


class JournalError(Exception):
    """The journal forbids this import or cannot be used; the message says what to do."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    import_id: str
    """Name given by the user; empty for the only import that most files have."""
    at: AwareDatetime


class ImportStarted(_Entry):
    """First entry of an import: a digest of its usage, its API's URL, and its number of requests."""

    event: Literal["started"] = "started"
    content: str
    api_url: str
    parts: int


class _RequestEntry(_Entry):
    event: RequestEvent
    part: int
    already_there: bool | None = None
    reason: str | None = None


_AnyEntry = Annotated[ImportStarted | _RequestEntry, Field(discriminator="event")]
_ENTRY: TypeAdapter[_AnyEntry] = TypeAdapter(_AnyEntry)


@dataclass
class Import:
    """State of one import of the file.

    Attributes
    ----------
    started : ImportStarted
        Its first entry.
    done : set of int
        Requests that do not have to be sent any more.
    already_there : set of int
        Those of them whose records were in the table before this import sent them.
    unanswered : dict of int to datetime
        Requests that may have reached the API, with the time they were first sent.
    """

    started: ImportStarted
    done: set[int] = field(default_factory=set)
    already_there: set[int] = field(default_factory=set)
    unanswered: dict[int, datetime] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether all requests are done."""
        return len(self.done) == self.started.parts

    def forgotten(self) -> list[int]:
        """Return the unanswered requests whose keys the API may no longer remember."""
        earliest = datetime.now(UTC) - RESEND_WITHIN
        return [part for part, sent in self.unanswered.items() if sent < earliest]


class Journal:
    """The journal of one CSV file.

    Created by :meth:`open` for an import, and by :meth:`read` for a dry run.
    """

    def __init__(self, path: Path, content: bytes, file: IO[bytes] | None) -> None:
        self._file = file
        self._imports: dict[str, Import] = {}
        for number, line in enumerate(content.splitlines(), start=1):
            try:
                self._apply(_ENTRY.validate_json(line))
            except (ValidationError, KeyError) as error:
                raise JournalError(
                    f"Nothing was sent: line {number} of {path} is not as this program wrote it. Restore that"
                    " file: it is what keeps usage from being billed twice."
                ) from error

    @staticmethod
    def path_for(csv_path: Path) -> Path:
        """Return the path of a CSV file's journal."""
        return csv_path.with_name(csv_path.name + ".imported.jsonl")

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Read a journal without locking or changing it; a missing one is empty.

        Raises
        ------
        JournalError
            If it is damaged.
        OSError
            If it cannot be read.
        """
        content = path.read_bytes() if path.exists() else b""
        return cls(path, content[: content.rfind(b"\n") + 1], None)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Journal]:
        """Open a journal for an import, and lock it until the block ends; a missing one is created.

        Yields
        ------
        Journal
            The journal, which can be appended to.

        Raises
        ------
        JournalError
            If another import of the file is running, or the journal is damaged.
        OSError
            If it cannot be read or written.
        """
        with path.open("a+b") as file:
            try:
                portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            except portalocker.AlreadyLocked as error:
                raise JournalError("Nothing was sent: another import of this file is running.") from error
            file.seek(0)
            content = file.read()
            # A crash can leave an incomplete last line: its request was not sent, or is still unanswered.
            complete = content.rfind(b"\n") + 1
            file.truncate(complete)
            yield cls(path, content[:complete], file)

    def find(self, import_id: str | None, content: str, api_url: str | None) -> Import | None:
        """Return the import to continue, unless that could send usage a second time.

        Parameters
        ----------
        import_id : str or None
            Name of the import; None for the latest one.
        content : str
            Digest of the usage in the file now.
        api_url : str or None
            URL of the API's stage; None if it does not matter.

        Returns
        -------
        Import or None
            The import; None if it has not started.

        Raises
        ------
        JournalError
            If the file's usage or the API has changed since the import started, or if this would start a
            second import of usage of which a first import is unfinished.
        """
        # An import that cannot have reached the API does not count; the latest one is the last.
        begun = [one for one in self._imports.values() if one.done or one.unanswered]
        latest = begun[-1] if begun else None
        found = latest
        if import_id is not None:
            found = next((one for one in begun if one.started.import_id == import_id), None)
        if found is None:
            if latest is not None and not latest.finished and latest.started.content == content:
                raise JournalError(
                    f"Nothing was sent: {_named(latest)} of the same lines is unfinished; finish it first,"
                    f" with {_option(latest)}."
                )
            return None
        state = f"{len(found.done)} of its {found.started.parts} requests done"
        to_import_again = (
            "run again with --import-id and a new name for that import, such as --import-id 2026-11-23-second"
        )
        if found.started.content != content:
            raise JournalError(
                f"Nothing was sent: the file's lines have changed since {_named(found)} began ({state}), and"
                " those that are in the table already would be billed again. Put the file back as it was;"
                f" or, if every line in it is new usage, {to_import_again}."
            )
        if api_url is not None and found.started.api_url != api_url:
            raise JournalError(
                f"Nothing was sent: {_named(found)} went to {found.started.api_url} ({state}), not to"
                f" {api_url}. If the usage is to be sent to that API as well, {to_import_again}."
            )
        return found

    def start(self, import_id: str, content: str, api_url: str, parts: int) -> Import:
        """Start an import that :meth:`find` did not find."""
        self._append(
            ImportStarted(
                at=datetime.now(UTC), import_id=import_id, content=content, api_url=api_url, parts=parts
            )
        )
        return self._imports[import_id]

    def record(
        self,
        event: RequestEvent,
        of: Import,
        part: int,
        *,
        already_there: bool | None = None,
        reason: str | None = None,
    ) -> None:
        """Append what happens to a request, and flush it to disk.

        Parameters
        ----------
        event : RequestEvent
            ``sending``: it is about to be sent, and cannot have reached the API yet; ``written``: its records
            are in the table; ``not_written``: it certainly had no effect; ``settled``: see :meth:`settle`.
        of : Import
            The import.
        part : int
            Number of the request.
        already_there : bool or None
            Of a written one: whether its records were in the table before this import sent them.
        reason : str or None
            Of one that was not written: the error.
        """
        self._append(
            _RequestEntry(
                event=event,
                import_id=of.started.import_id,
                at=datetime.now(UTC),
                part=part,
                already_there=already_there,
                reason=reason,
            )
        )

    def settle(self, of: Import, part: int) -> None:
        """Record that the user has checked an unanswered request by hand.

        Raises
        ------
        JournalError
            If the request is not unanswered.
        """
        if part in of.done:
            return
        if part not in of.unanswered:
            raise JournalError(f"Nothing was sent: request {part} is not one whose outcome is unknown.")
        self.record("settled", of, part)

    def _append(self, entry: _AnyEntry) -> None:
        if self._file is None:
            raise ValueError("a journal opened for reading cannot be appended to")
        self._file.write(entry.model_dump_json(exclude_none=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._apply(entry)

    def _apply(self, entry: _AnyEntry) -> None:
        if isinstance(entry, ImportStarted):
            self._imports.pop(entry.import_id, None)
            self._imports[entry.import_id] = Import(entry)
            return
        # The import that was changed last comes last.
        changed = self._imports[entry.import_id] = self._imports.pop(entry.import_id)
        if entry.event == "sending":
            changed.unanswered[entry.part] = entry.at
            return
        del changed.unanswered[entry.part]
        if entry.event != "not_written":
            changed.done.add(entry.part)
        if entry.already_there:
            changed.already_there.add(entry.part)


def shown(at: datetime) -> str:
    """Format a time for messages."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _named(one: Import) -> str:
    name = f"import {one.started.import_id!r}" if one.started.import_id else "the import"
    return f"{name} of {shown(one.started.at)}"


def _option(one: Import) -> str:
    return f"--import-id {one.started.import_id}" if one.started.import_id else "no --import-id"
