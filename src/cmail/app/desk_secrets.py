"""Passwords that somebody typed into the page or the API: a file each in DATA/secrets, which settings name.

One of a row ([[collect]], [[link.kick]], [[site]]) goes as soon as neither the settings file nor the draft
names it."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cmail.storage import durable
from cmail.web.desk import Problem

PASSWORD_FILE: Final = "password_file"
SMTP: Final = "smtp.password_file"
OCTETS_MAX: Final = 4000  # what reads such a file takes 4096
_PREFIXES: Final = {
    "collect": "collect-password-",
    "link.kick": "kick-password-",
    "site": "site-password-",
}
_OF_ROW: Final = re.compile(r"([a-z.]+)\[(\d{1,4})\]\.password_file\Z")
# By these a row is known again when its password is not there any more.
_WHO: Final = ("protocol", "method", "host", "username", "user")
Raw = Mapping[str, Any]


class Secrets:
    """The folder. Blocks for a file."""

    def __init__(self, data_dir: str) -> None:
        self.folder = os.path.join(data_dir, "secrets")

    def place(self, key: str) -> str:
        """Where a new password of "collect[2].password_file" will be. KeyError: none is kept for that."""
        found = _OF_ROW.match(key)
        prefix = "smtp-password-" if key == SMTP else _PREFIXES[found[1] if found else ""]
        return os.path.join(self.folder, prefix + os.urandom(6).hex())

    def write(self, path: str, text: str) -> None:
        """0600, and durable."""
        durable.make_folder(self.folder)
        durable.write_new(path, text.encode() + b"\n")
        durable.sync_folder(self.folder)

    def sweep(self, named: Iterable[str]) -> None:
        """Remove those of rows that nobody names."""
        kept = {os.path.basename(path) for path in named if self.is_ours(path)}
        try:
            names = os.listdir(self.folder)
        except OSError:
            return  # there is none yet
        gone = [name for name in names if name.startswith(tuple(_PREFIXES.values())) and name not in kept]
        for name in gone:
            durable.remove(os.path.join(self.folder, name))

    def is_ours(self, path: object) -> bool:
        """Whether it was typed, and is no file of somebody's own."""
        return isinstance(path, str) and os.path.dirname(path) == self.folder

    def is_gone(self, path: object) -> bool:
        """Whether it was, and is not any more."""
        return self.is_ours(path) and not os.path.exists(str(path))


def fault_of(key: str, text: str) -> Problem | None:
    """Why this cannot be a password."""
    if any(ord(c) < 32 for c in text):
        return Problem(key, "a password has no line ends or control characters")
    if len(text.encode("utf-8", "replace")) > OCTETS_MAX or any(0xD800 <= ord(c) < 0xE000 for c in text):
        return Problem(key, f"a password is text of at most {OCTETS_MAX} octets")
    return None


def put(values: dict[str, Any], key: str, path: str) -> bool:
    """The path of a password into its setting or its row ("": none). False: there is no such row."""
    found = _OF_ROW.match(key)
    if not found:
        return False
    rows = values.get(found[1])
    number = int(found[2])
    if not isinstance(rows, list) or not 0 < number <= len(rows) or not isinstance(rows[number - 1], Mapping):
        return False
    row = {name: value for name, value in rows[number - 1].items() if name != PASSWORD_FILE}
    if path:
        row[PASSWORD_FILE] = path
    values[found[1]] = [*rows[: number - 1], row, *rows[number:]]
    return True


def named_in(values: Raw) -> Iterator[str]:
    """All files of passwords that the rows of these values name."""
    for _, _, row in rows_of(values):
        if isinstance(path := row.get(PASSWORD_FILE), str):
            yield path


def rows_of(values: Raw) -> Iterator[tuple[str, int, Raw]]:
    """Array, number and row of all that may have a password."""
    for key in _PREFIXES:
        rows = values.get(key)
        if isinstance(rows, list):
            yield from ((key, number, row) for number, row in enumerate(rows, 1) if isinstance(row, Mapping))


def brought_back(secrets: Secrets, then: Raw, now: Raw) -> tuple[dict[str, Any], list[Problem]]:
    """What has to be otherwise in settings of before, because a password that they name is gone: the one
    that the same log-in has today; and where there is none."""
    changed: dict[str, Any] = {}
    wrong: list[Problem] = []
    today = {(key, *map(row.get, _WHO)): row.get(PASSWORD_FILE) for key, _, row in rows_of(now)}
    for key, number, row in rows_of(then):
        if not secrets.is_gone(row.get(PASSWORD_FILE)):
            continue
        place = f"{key}[{number}].{PASSWORD_FILE}"
        path = today.get((key, *map(row.get, _WHO)))
        if not path or secrets.is_gone(path):
            words = (
                "was removed with its row: take back the other settings by hand, and type the password again"
            )
            wrong.append(Problem(place, words))
            continue
        changed.setdefault(key, list(then[key]))
        put(changed, place, path)
    return changed, wrong


def faults_of_rows(key: str, rows: Any, known: Iterable[Any], words: str) -> list[Problem]:
    """Programs and files that these rows name and those that are known do not."""
    wrong: list[Problem] = []
    before = [row for each in known if isinstance(each, list) for row in each if isinstance(row, Mapping)]
    files = {str(row.get(PASSWORD_FILE)) for row in before}
    for number, row in enumerate(rows if isinstance(rows, list) else (), 1):
        if not isinstance(row, Mapping):
            continue
        if row.get("command") and row not in before:
            wrong.append(Problem(f"{key}[{number}].command", words, is_file_only=True))
        if row.get(PASSWORD_FILE) and str(row[PASSWORD_FILE]) not in files:
            wrong.append(Problem(f"{key}[{number}].{PASSWORD_FILE}", words, is_file_only=True))
    return wrong
