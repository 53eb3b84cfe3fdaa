"""Every reason to wait is said in plain words, with what to do about it."""

from typing import Any

import pytest

from cmail.admin.rows import duration
from cmail.admin.why import explain
from cmail.mail.outcome import NotNow

NOW = 1_770_000_000_000
USUAL = {
    "id": "38G6TPN5J0000", "to": "bob@example.net", "state": "queued", "attempts": 2, "next_ms": NOW + 240_000,
    "reason": "451 4.7.1 try later", "kind": int(NotNow.MESSAGE), "route": "relay",
}  # fmt: skip
# name: (row, circumstances, words of why, words of the advice)
CASES: dict[str, tuple[dict[str, Any], dict[str, bool], str, str]] = {
    "held": ({"state": "held"}, {}, "on hold", "cmail queue release 38G6TPN5J0000"),
    "link down": ({}, {"is_link_down": True}, "link is down", "as soon as the link is up"),
    "link down, for here": ({"route": "local"}, {"is_link_down": True}, "Tried 2 times", "flush"),
    "off line when tried": ({"kind": int(NotNow.OFFLINE)}, {}, "not there when it was tried", "link status"),
    "batch": ({"attempts": 0, "reason": ""}, {"is_batch": True}, "queue.batch", "cmail queue flush"),
    "new": ({"attempts": 0, "reason": ""}, {}, "It is new", "goes by itself"),
    "server down": ({}, {"is_server_down": True}, "not running", "cmail serve"),
    "greylisting": ({"reason": "450 Greylisted"}, {}, "Tried 2 times", "greylisting"),
    "log-in": ({"reason": "535 5.7.8 no"}, {}, "does not let us in", "password_file"),
    "no host": ({"reason": "no SMTP host is set (smtp.host)"}, {}, "not set up", "Set host in [smtp]"),
    "refused": ({"reason": "connection refused", "kind": 2}, {}, "The next server is in trouble", "firewall"),
    "a port is no code": ({"reason": "h[192.0.2.1]:25526: connection refused"}, {}, "", "firewall"),
    "in doubt": (
        {
            "reason": "the server closed the connection, after all of the message was sent: it may have arrived,"
            " and then arrives twice"
        },
        {},
        "it may have arrived",
        "may get it twice",
    ),
    "anything": ({}, {}, "next attempt is in 4 min", "cmail queue flush 38G6TPN5J0000"),
    "others failed": ({"attempts": 0, "kind": 2}, {}, "has not been tried itself; others were", "flush"),
    "due": ({"next_ms": NOW - 1}, {}, "its turn now", "flush"),
    "once": (
        {"attempts": 1, "route": "mx:example.net"},
        {},
        "Tried once at the mail server of example.net",
        "",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_words(name: str) -> None:
    """Why, and what to do."""
    row, circumstances, why, advice = CASES[name]
    usual = {"is_link_down": False, "is_batch": False}
    told = explain({**USUAL, **row}, NOW, **{**usual, **circumstances})
    assert why in told.why
    assert advice in told.advice


@pytest.mark.parametrize(
    ("ms", "words"),
    [(-5, "0 s"), (119_999, "119 s"), (120_000, "2 min"), (7_199_000, "119 min"), (7_200_000, "2 h"), (172_800_000, "2 days")],
)  # fmt: skip
def test_durations(ms: int, words: str) -> None:
    """Spans of time as people say them."""
    assert duration(ms) == words
