"""Conversations: files of C: and S: lines, read and played against a Connection without sockets or a server.

listener: submission       smtp when not said        client: 192.0.2.7      its address; 127.0.0.1
tls: yes                   as if under TLS           limits: recipients=3   IntakeSettings; 7s is a time
size: 1000                 max_message_size
C: EHLO client.example     sent with CRLF; \\r \\n \\0 \\xff are octets
C+ .\\r\\n                   sent as it stands, without CRLF
S: 250 2.1.0               the next reply: its last line begins so
S* STARTTLS                the reply before has a line that ends so
S! STARTTLS                it has none
S.                         the server closes here
"""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from cmail.smtpd.settings import IntakeSettings

FOLDER = Path(__file__).resolve().parent.parent / "conversations"


@dataclass
class Conversation:
    """What a file says."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    turns: list[tuple[bytes, list[tuple[str, str]]]] = field(default_factory=list)  # octets, expectations

    @property
    def sent(self) -> bytes:
        """All that the client says."""
        return b"".join(octets for octets, _ in self.turns)

    @property
    def expected(self) -> list[tuple[str, str]]:
        """All that is expected, in order."""
        return [what for _, expected in self.turns for what in expected]


def conversations(folder: str = "smtp") -> list[Conversation]:
    """All files."""
    return [_read(path) for path in sorted((FOLDER / folder).glob("*.txt"))]


def _read(path: Path) -> Conversation:
    found = Conversation(path.stem)
    octets = b""
    expected: list[tuple[str, str]] = []
    for line in path.read_text().splitlines():
        mark, text = line[:2], line[3:]
        if mark in ("C:", "C+"):
            if expected:
                found.turns.append((octets, expected))
                octets, expected = b"", []
            octets += _octets(text) + (b"\r\n" if mark == "C:" else b"")
        elif mark in ("S:", "S*", "S!", "S."):
            expected.append((mark, text))
        elif line and not line.startswith("#"):
            key, _, value = line.partition(":")
            found.settings[key] = value.strip()
    found.turns.append((octets, expected))
    return found


def _value(text: str) -> int | timedelta:
    return timedelta(seconds=int(text[:-1])) if text.endswith("s") else int(text)


def _octets(text: str) -> bytes:
    if "\\" not in text:
        return text.encode()
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")


def split_replies(octets: bytes) -> list[list[str]]:
    """Replies, each a list of its lines."""
    replies: list[list[str]] = []
    lines: list[str] = []
    for line in octets.decode().split("\r\n")[:-1]:
        lines.append(line)
        if line[3:4] != "-":
            replies.append(lines)
            lines = []
    assert not lines, f"an unfinished reply: {lines}"
    return replies


def check(expected: list[tuple[str, str]], replies: list[list[str]], is_closed: bool) -> None:
    """Whether the replies are what was expected, all of them."""
    left = list(replies)
    last: list[str] = []
    for mark, text in expected:
        if mark == "S:":
            assert left, f"no reply where {text!r} was expected"
            last = left.pop(0)
            assert last[-1].startswith(text), f"{last[-1]!r} where {text!r} was expected"
        elif mark == "S*":
            assert any(line[4:].endswith(text) for line in last), f"{text!r} is not in {last}"
        elif mark == "S!":
            assert not any(line[4:].endswith(text) for line in last), f"{text!r} is in {last}"
        else:
            assert is_closed and not left, f"not closed; {left}"
    assert not left, f"said besides: {left}"


def context_changes(conversation: Conversation) -> dict[str, Any]:
    """What a conversation wants of make_context()."""
    changes: dict[str, Any] = {}
    said = conversation.settings
    if "size" in said:
        changes["max_message_size"] = int(said["size"])
    if "limits" in said:
        pairs = [pair.split("=") for pair in said["limits"].split()]
        limits: dict[str, Any] = {key: _value(value) for key, value in pairs}
        changes["settings"] = IntakeSettings(**limits)
    return changes
