"""Desk: the settings as the page and the API change them: a draft, its check, Save Settings, its versions.

The types are here; what reads and writes the file is in app/, which alone knows all settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class SettingView:
    """One setting as it is shown. Values are as in the file: text, numbers, true/false, lists of them."""

    key: str  # dotted: "smtp.advanced.timeout"
    value: Any  # with the draft
    saved: Any  # as the file has it, or the default
    default: Any  # None where the file has to say it
    kind: str  # "switch" | "choice" | "number" | "decimal" | "text" | "duration" | "size" | "list" | "tables"
    choices: Sequence[str]
    unit: str  # "seconds", "octets"; "" where there is none
    sentence: str
    is_in_file: bool
    is_changed: bool  # the draft differs from the file
    is_at_restart: bool  # takes effect when the server is started again
    is_file_only: bool  # names a program or a path: set in the file, never here
    error: str = ""  # what the check of the draft says of it
    element_kind: str = ""  # of a list: "text", "duration" ...
    columns: Sequence["SettingView"] = ()  # of tables: what a row may have; their keys: "collect.name"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the list that Save Settings shows: values as they stand in the file; "" is none."""

    key: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a setting, and what would be right."""

    key: str
    reason: str
    example: str = ""
    is_file_only: bool = False  # it names a path or a program


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of values that were saved at once."""

    changes: Sequence[Change]
    notes: Sequence[str]  # what takes effect later, or did not yet
    is_applied: bool  # the running server has taken it over


@dataclass(frozen=True, slots=True)
class Conflict:
    """A setting that was changed here and, meanwhile, in the file by hand."""

    key: str
    before: str  # as it was when the draft began
    theirs: str  # in the file now
    ours: str


@dataclass(frozen=True, slots=True)
class Version:
    """A file that was saved before."""

    number: int
    wall_ms: int
    by: str
    changes: Sequence[Change]


class DraftError(Exception):
    """What was asked cannot be done: problems at their settings, or conflicts to be decided; the file is as
    it was."""

    def __init__(self, problems: Sequence[Problem] = (), conflicts: Sequence[Conflict] = ()) -> None:
        self.problems, self.conflicts = problems, conflicts
        super().__init__("; ".join(f"{p.key}: {p.reason}" for p in problems) or "changed by hand meanwhile")


class Desk(Protocol):
    """All of it blocks for a file at most, but for save()."""

    def settings(self) -> Mapping[str, SettingView]:
        """Every setting of the file by its dotted key, in the order of the manual."""
        ...

    def change(self, values: Mapping[str, Any], by: str, secrets: Mapping[str, str] = ...) -> None:
        """OK on a dialog: into the draft. A value that cannot be of its type is a DraftError, and nothing
        of it is taken; a value like the file's leaves the draft. `secrets`: passwords that somebody typed
        for rows, by "collect[2].password_file"; see keep_secret()."""
        ...

    def reset(self, keys: Sequence[str], by: str) -> None:
        """Back to the default, in the draft."""
        ...

    def discard(self) -> None:
        """No draft any more."""
        ...

    def changes(self) -> Sequence[Change]:
        """What Save Settings would write."""
        ...

    def problems(self) -> Sequence[Problem]:
        """What a check of the draft as a whole says."""
        ...

    def conflicts(self) -> Sequence[Conflict]:
        """Where the file was changed by hand since the draft began."""
        ...

    async def save(self, by: str, keep: Mapping[str, str]) -> Sequence[str]:
        """Write the file, have the server take it over; words on what takes effect later. `keep`: "ours" or
        "theirs" for each conflict. DraftError: nothing was written."""
        ...

    async def save_values(
        self, values: Mapping[str, Any], secrets: Mapping[str, str], by: str, wrong: Sequence[Problem] = ()
    ) -> Saved:
        """These values alone (None: the default), at once: check, write, have the server take it over. The
        draft that somebody has stays as it is. `secrets`: key -> a password, as of keep_secret() or change().
        `wrong`: what is known to be wrong already. DraftError with all that is wrong: nothing was written."""
        ...

    def versions(self) -> Sequence[Version]:
        """The last 20, the newest first."""
        ...

    async def bring_back(self, number: int, by: str) -> Sequence[str]:
        """Write a version again as it was, and have the server take it over; what is there now becomes a
        version. Words as of save(). DraftError; KeyError: there is no such version."""
        ...

    def keep_secret(self, key: str, text: str, by: str) -> None:
        """A password that somebody typed: into a file in DATA/secrets that only the server can read; the
        draft of `key` (smtp.password_file) names it. An empty one: no password. That of a row goes when
        the row does, with Save Settings."""
        ...
