"""The journal beside the CSV file: what was sent from it, so that nothing is ever sent twice.

It is a file of JSON lines that only grows. A line is on the disk before a request leaves, and another one
after its answer has come; so whatever happens in between, a request that may have arrived is known.
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

RESEND_WITHIN = timedelta(hours=23)
"""How long a request may be repeated: the API knows its key for 24 h, and clocks differ."""


class JournalError(Exception):
    """The journal forbids this import, or cannot be used; the message says what to do."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    import_id: str
    at: AwareDatetime


class _Started(_Entry):
    event: Literal["started"] = "started"
    content: str
    api_url: str
    parts: int


class _Sending(_Entry):
    event: Literal["sending"] = "sending"
    part: int


class _Written(_Entry):
    event: Literal["written"] = "written"
    part: int
    already_there: bool


class _NotWritten(_Entry):
    event: Literal["not_written"] = "not_written"
    part: int
    reason: str


class _Settled(_Entry):
    event: Literal["settled"] = "settled"
    part: int


_AnyEntry = Annotated[_Started | _Sending | _Written | _NotWritten | _Settled, Field(discriminator="event")]
_ENTRY: TypeAdapter[_AnyEntry] = TypeAdapter(_AnyEntry)


@dataclass
class Import:
    """One import of the file.

    Attributes
    ----------
    import_id : str
        The name its user gave it; empty for a file's usual, only one.
    content : str
        The digest of what it sends.
    api_url : str
        Where it sends that.
    parts : int
        The number of its requests.
    started : datetime
        When it began.
    done : set of int
        The requests that need not be sent any more.
    already_there : set of int
        Those of them whose records were in the table before this import sent them.
    unanswered : dict of int to datetime
        The requests that may have arrived, and when they were first sent.
    """

    import_id: str
    content: str
    api_url: str
    parts: int
    started: datetime
    done: set[int] = field(default_factory=set)
    already_there: set[int] = field(default_factory=set)
    unanswered: dict[int, datetime] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to send."""
        return len(self.done) == self.parts

    def forgotten(self) -> list[int]:
        """List the requests that may have arrived, but whose keys the API may no longer know."""
        earliest = datetime.now(UTC) - RESEND_WITHIN
        return [part for part, sent in self.unanswered.items() if sent < earliest]


class Journal:
    """What one CSV file's journal says, and the way to add to it.

    Use :meth:`open` to import, and :meth:`read` only to look.
    """

    def __init__(self, path: Path, content: bytes, file: IO[bytes] | None) -> None:
        self._path = path
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
        """Tell where a CSV file's journal is."""
        return csv_path.with_name(csv_path.name + ".imported.jsonl")

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Read a journal, if there is one, without locking or changing it.

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
        """Open a journal, making it if need be, and keep others from importing the file meanwhile.

        Yields
        ------
        Journal
            The journal; it can be added to until the block ends.

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
            # The end of a line that a crash cut short: what it was to announce was not done yet.
            complete = content.rfind(b"\n") + 1
            file.truncate(complete)
            yield cls(path, content[:complete], file)

    def find(self, import_id: str | None, content: str, api_url: str | None) -> Import | None:
        """Find the import to go on with, and refuse what could send usage a second time.

        Parameters
        ----------
        import_id : str or None
            The import's name; None for the latest one.
        content : str
            The digest of what the file holds now.
        api_url : str or None
            Where it is to go; None if that does not matter.

        Returns
        -------
        Import or None
            The import; None if it has not begun.

        Raises
        ------
        JournalError
            If the file or the API is another one than when the import began, or if this would begin a
            second import of lines of which a first one is unfinished.
        """
        # An import of which nothing can have arrived binds nobody; the latest one stands last.
        begun = [one for one in self._imports.values() if one.done or one.unanswered]
        latest = begun[-1] if begun else None
        found = (
            latest if import_id is None else next((one for one in begun if one.import_id == import_id), None)
        )
        if found is None:
            if latest is not None and not latest.finished and latest.content == content:
                raise JournalError(
                    f"Nothing was sent: {_named(latest)} of these very lines is unfinished; finish it first,"
                    f" with {_option(latest)}."
                )
            return None
        state = f"{len(found.done)} of its {found.parts} requests done"
        to_import_again = (
            "run again with --import-id and a new name for that import, such as --import-id 2026-11-23-second"
        )
        if found.content != content:
            raise JournalError(
                f"Nothing was sent: the file's lines have changed since {_named(found)} began ({state}), and"
                " those that are in the table already would be billed again. Put the file back as it was;"
                f" or, if every line in it is new usage, {to_import_again}."
            )
        if api_url is not None and found.api_url != api_url:
            raise JournalError(
                f"Nothing was sent: {_named(found)} went to {found.api_url} ({state}), not to {api_url}."
                f" If it is to go there as well, {to_import_again}."
            )
        return found

    def start(self, import_id: str, content: str, api_url: str, parts: int) -> Import:
        """Begin an import that :meth:`find` did not find."""
        self._add(
            _Started(at=datetime.now(UTC), import_id=import_id, content=content, api_url=api_url, parts=parts)
        )
        return self._imports[import_id]

    def sending(self, of: Import, part: int) -> None:
        """Note that a request, of which nothing can have arrived yet, is about to be sent."""
        self._add(_Sending(at=datetime.now(UTC), import_id=of.import_id, part=part))

    def written(self, of: Import, part: int, *, already_there: bool) -> None:
        """Note that the API has answered: the request's records are in the table, or even were before."""
        self._add(
            _Written(at=datetime.now(UTC), import_id=of.import_id, part=part, already_there=already_there)
        )

    def not_written(self, of: Import, part: int, reason: str) -> None:
        """Note that a request is known not to have had any effect."""
        self._add(_NotWritten(at=datetime.now(UTC), import_id=of.import_id, part=part, reason=reason))

    def settle(self, of: Import, part: int) -> None:
        """Note that the user has seen to an unanswered request by hand.

        Raises
        ------
        JournalError
            If the request is not one of those.
        """
        if part in of.done:
            return
        if part not in of.unanswered:
            raise JournalError(f"Nothing was sent: request {part} is not one whose outcome is unknown.")
        self._add(_Settled(at=datetime.now(UTC), import_id=of.import_id, part=part))

    def _add(self, entry: _AnyEntry) -> None:
        if self._file is None:
            raise ValueError("a journal that was only read cannot be added to")
        self._file.write(entry.model_dump_json().encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._apply(entry)

    def _apply(self, entry: _AnyEntry) -> None:
        if isinstance(entry, _Started):
            found = Import(entry.import_id, entry.content, entry.api_url, entry.parts, entry.at)
            self._imports.pop(entry.import_id, None)
        else:
            found = self._imports.pop(entry.import_id)
        self._imports[entry.import_id] = found
        match entry:
            case _Sending():
                found.unanswered[entry.part] = entry.at
            case _NotWritten():
                del found.unanswered[entry.part]
            case _Written() | _Settled():
                del found.unanswered[entry.part]
                found.done.add(entry.part)
                if isinstance(entry, _Written) and entry.already_there:
                    found.already_there.add(entry.part)
            case _Started():
                pass


def shown(at: datetime) -> str:
    """Write a time for people."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _named(one: Import) -> str:
    name = f"import {one.import_id!r}" if one.import_id else "the import"
    return f"{name} of {shown(one.started)}"


def _option(one: Import) -> str:
    return f"--import-id {one.import_id}" if one.import_id else "no --import-id"
