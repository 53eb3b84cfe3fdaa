"""Reads a reason: what was said, at which stage, with which codes; names and addresses in it mean nothing.

Pure, and careful: a port number is no reply code, and a server named greylist.example.net says nothing
about greylisting."""

import re
from dataclasses import dataclass
from typing import Final

REASON_MAX: Final = 2000  # letters that are looked at
GAP_MAX: Final = 60  # letters that * stands for in a phrase

_RELAY: Final = re.compile(r"(?:[^\s\[]{0,255}\[[^\]\s]{1,108}\](?::\d{1,5})?): ")  # name[address]:port
_REPLY: Final = re.compile(r"(?:\A|: )([245]\d\d)(?=[ -]|\Z)")
_STATUS: Final = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\d|\.\d)")


@dataclass(frozen=True, slots=True)
class Said:
    """A reason, taken apart."""

    text: str = ""  # in small letters, without the name of the host; an address is only @
    stage: str = ""  # "mail", "rcpt", "data", "content", "log-in", "the greeting" ...; "" when none is named
    code: str = ""  # "550"; "" when no server has replied
    status: str = ""  # "5.1.1"


def read_reason(reason: str) -> Said:
    """What a reason of an attempt says."""
    plain = reason[:REASON_MAX]
    found = _RELAY.match(plain)
    if found:
        plain = plain[found.end() :]
    reply = _REPLY.search(plain)
    text = " ".join("@" if "@" in word else word for word in plain.lower().split())
    if reply is None:
        return Said(text)
    code = reply[1]
    return Said(text, _stage(plain[: reply.start()]), code, _status(plain[reply.end() :], code))


def _stage(before: str) -> str:
    """The words before the reply."""
    small = before.lower()
    if small.startswith(("the log-in", "our log-in", "auth")):
        return "log-in"
    return small


def _status(text: str, code: str) -> str:
    """The enhanced status of a reply, wherever it stands; one of another class than the code is none."""
    for found in _STATUS.finditer(text):
        if found[1] == code[0]:
            return found[0]
    return ""


def has_phrase(text: str, phrase: str) -> bool:
    """Whether words stand in a text, at the beginning of a word; * stands for a few more."""
    first, *others = phrase.split("*")
    start = text.find(first)
    while start >= 0:
        if not (start and text[start - 1].isalnum()) and _goes_on(text, start + len(first), others):
            return True
        start = text.find(first, start + 1)
    return False


def _goes_on(text: str, at: int, others: list[str]) -> bool:
    for part in others:
        found = text.find(part, at, at + GAP_MAX + len(part))
        if found < 0:
            return False
        at = found + len(part)
    return True
