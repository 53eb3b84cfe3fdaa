"""What Validation does for each message is little: calls are counted, no clock is looked at."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

from cmail.policy.validation.examine import examine, is_quick

CORPUS = Path(__file__).parents[3] / "corpus" / "validation"


def calls(octets: bytes) -> int:
    """Functions that are called for one message, those of C too."""
    examine(octets)  # what is remembered of names and senders is remembered now
    count = 0

    def note(_frame: FrameType, event: str, _what: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        examine(octets)
    finally:
        sys.setprofile(None)
    return count


def message(name: str, more: bytes = b"") -> bytes:
    """Of the corpus, with more text at its end."""
    return (CORPUS / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n") + more


def test_a_text_message_costs_a_look_at_its_header() -> None:
    """Few calls, and the same whatever stands in the text; a line end is looked for once in 1000 octets."""
    lines = b"-- \r\n--x\r\n" + b"x" * 70 + b"\r\n"
    assert calls(message("plain", lines * 50)) < 80
    assert calls(message("plain", lines * 5000)) - calls(message("plain")) <= len(lines) * 5000 // 900


def test_a_multipart_costs_a_look_at_its_boundaries() -> None:
    """What mail programs send costs less than twice as many calls as it has fields and parts to look at."""
    for name in ("gmail", "outlook", "thunderbird"):
        assert calls(message(name)) < 260, name
    filling = (b"x" * 70 + b"\r\n") * 1000
    assert calls(message("gmail", filling)) - calls(message("gmail")) <= len(filling) // 900


def test_what_is_many_lines_is_not_quick() -> None:
    """A header or a body that would keep the event loop is sent to a thread."""
    header = b"From: a@example.org\r\n"
    assert is_quick(header + b"\r\nx\r\n" * 9000, header)
    assert not is_quick(header + b"\r\n--x" * 600, header)
    assert not is_quick(b"", b"x: y\r\n" * 3000)
