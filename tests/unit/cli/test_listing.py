"""The queue as mailq has always printed it, and nothing that a peer said reaches the terminal raw."""

import io
from typing import Any

from cmail.cli.listing import print_mailq, print_rows, printable

ARRIVED = 1_770_000_000_000


def row(**more: Any) -> dict[str, Any]:
    """A row of admin.rows."""
    usual = {
        "id": "38G6TPN5J0000", "position": 0, "from": "anna@example.org", "to": "bob@example.net", "size": 522,
        "state": "queued", "attempts": 1, "next_ms": 0, "reason": "", "arrived_ms": ARRIVED, "kind": 0,
        "route": "relay", "origin": "",
    }  # fmt: skip
    return {**usual, **more}


def test_mailq() -> None:
    """A block a message: id, size, time, sender; reason; recipients; then the sum."""
    rows = [
        row(reason="connection refused"),
        row(position=1, to="carl@example.net", reason="connection refused"),
        row(id="38G6TPN5J0001", state="held", **{"from": ""}),
    ]
    out = io.StringIO()
    print_mailq(rows, out)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("-Queue ID-")
    assert lines[1].split()[0] == "38G6TPN5J0000" and lines[1].endswith("  anna@example.org")
    assert lines[2].strip() == "(connection refused)"
    assert [line.strip() for line in lines[3:5]] == ["bob@example.net", "carl@example.net"]
    assert lines[6].startswith("38G6TPN5J0001!") and lines[6].endswith("MAILER-DAEMON")
    assert lines[-1] == "-- 1 Kbytes in 2 Requests."


def test_what_is_being_sent() -> None:
    """It waits for nothing; mailq has a star, as its readers know it."""
    out = io.StringIO()
    print_rows([row(next_ms=ARRIVED, sent_for_ms=5000), row(next_ms=ARRIVED, sent_for_ms=None)], out)
    first, second = out.getvalue().splitlines()
    assert "  being sent, " in first and "  due now, " in second
    out = io.StringIO()
    print_mailq([row(sent_for_ms=5000)], out)
    assert out.getvalue().splitlines()[1].startswith("38G6TPN5J0000*")


def test_mailq_empty() -> None:
    """The sentence that scripts look for."""
    out = io.StringIO()
    print_mailq([], out)
    assert out.getvalue() == "Mail queue is empty\n"


def test_no_control_characters() -> None:
    """An escape sequence in a reply is shown as question marks."""
    assert printable("a\x1b[2Jb\n") == "a?[2Jb?"
    out = io.StringIO()
    assert print_rows([row(reason="\x1b[2J", to="b\x07@example.net")], out) == 1
    assert "\x1b" not in out.getvalue() and "\x07" not in out.getvalue()
