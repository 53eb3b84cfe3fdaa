"""Every reason to wait is said in plain words, with what to do about it."""

from typing import Any

import pytest

from cmail.admin.rows import duration
from cmail.admin.why import explain
from cmail.mail.outcome import NotNow

NOW = 1_770_000_000_000
LATER = "its sender wants it sent on Mon, 23 Nov 2026 18:05:44 +0000"
USUAL = {
    "id": "38G6TPN5J0000", "to": "bob@example.net", "state": "queued", "attempts": 2, "next_ms": NOW + 240_000,
    "reason": "451 4.7.1 try later", "kind": int(NotNow.MESSAGE), "route": "relay",
}  # fmt: skip
# name: (row, circumstances, row of the table, words of why, words of the advice)
CASES: dict[str, tuple[dict[str, Any], dict[str, bool], str, str, str]] = {
    "held": ({"state": "held"}, {}, "on hold", "on hold", "cmail queue release 38G6TPN5J0000"),
    "link down": ({}, {"is_link_down": True}, "off line", "We are off line", "as soon as the link is up"),
    "link down, for here": (
        {"route": "local"},
        {"is_link_down": True},
        "temporary refusal",
        "Tried 2 times",
        "flush",
    ),
    "off line when tried": (
        {"kind": int(NotNow.OFFLINE)},
        {},
        "off line",
        "off line when it was tried",
        "link status",
    ),
    "no exchange is open": (
        {"kept": "It waits for the next exchange."},
        {},
        "not over this link",
        "waits for the next exchange. While it waits it is not tried",
        "cmail link exchange",
    ),
    "kept, and off line": (
        {"kept": "Only urgent mail goes now."},
        {"is_link_down": True},
        "off line",
        "We are off line",
        "link is up",
    ),
    "for later": (
        {"attempts": 0, "reason": LATER, "kind": 0, "hold_until_ms": NOW + 7_200_000},
        {},
        "for later",
        f"Its sender wants it sent later. It goes in 2 h: {LATER}.",
        "cmail queue release 38G6TPN5J0000",
    ),
    "for later, off line and kept": (
        {
            "attempts": 0,
            "reason": LATER,
            "kept": "Only urgent mail goes now.",
            "hold_until_ms": NOW + 7_200_000,
        },
        {"is_link_down": True, "is_batch": True},
        "for later",
        "Its sender wants it sent later.",
        "It goes by itself then",
    ),
    "for later, and it is later": (
        {"attempts": 0, "reason": "", "kind": 0, "hold_until_ms": NOW},
        {"is_link_down": True},
        "off line",
        "We are off line",
        "link is up",
    ),
    "fits no link": (
        {
            "state": "held",
            "reason": "cannot fit: 48 MiB at 256 kbit/s takes 26 minutes, and no window is so long",
        },
        {},
        "fits no link",
        "It is on hold: it cannot fit: 48 MiB at 256 kbit/s",
        "cmail queue release 38G6TPN5J0000",
    ),
    "batch": (
        {"attempts": 0, "reason": ""},
        {"is_batch": True},
        "batch",
        "next exchange",
        "cmail queue flush",
    ),
    "being sent": (
        {"attempts": 0, "reason": "", "sent_for_ms": 190_000},
        {"is_batch": True},
        "being sent",
        "It is being sent now, through the upstream server, for 3 min so far.",
        "when the other side has taken it",
    ),
    "being sent since a moment ago": (
        {"sent_for_ms": 0, "route": "mx:example.net"},
        {},
        "being sent",
        "It is being sent now, at the mail server of example.net.",
        "when the other side has taken it",
    ),
    "on hold while it is sent": ({"state": "held", "sent_for_ms": 0}, {}, "on hold", "on hold", "release"),
    "new": ({"attempts": 0, "reason": ""}, {}, "new", "It is new", "goes by itself"),
    "server down": ({}, {"is_server_down": True}, "server down", "not running", "cmail serve"),
    "greylisting": (
        {"reason": "450 Greylisted"},
        {},
        "greylisting",
        "Tried 2 times",
        "tried again by itself",
    ),
    "log-in": (
        {"reason": "535 5.7.8 no"},
        {},
        "our password is wrong",
        "does not accept our log-in",
        "password_file",
    ),
    "no host": (
        {"reason": "no SMTP host is set (smtp.host)"},
        {},
        "no upstream server",
        "No upstream server is named",
        "Set host in [smtp]",
    ),
    "refused": (
        {"reason": "connection refused", "kind": 2},
        {},
        "connection refused",
        "does not take connections",
        "firewall",
    ),
    "a port is no code": (
        {"reason": "h[192.0.2.1]:25526: connection refused"},
        {},
        "connection refused",
        "",
        "firewall",
    ),
    "in doubt": (
        {
            "reason": "the server closed the connection, after all of the message was sent: it may have arrived,"
            " and then arrives twice"
        },
        {},
        "possible duplicate",
        "may get it twice",
        "ask there",
    ),
    "anything": ({}, {}, "temporary refusal", "next attempt is in 4 min", "cmail queue flush 38G6TPN5J0000"),
    "others failed": (
        {"attempts": 0, "kind": 2},
        {},
        "temporary refusal",
        "has not been tried itself; others were",
        "flush",
    ),
    "due": ({"next_ms": NOW - 1}, {}, "temporary refusal", "its turn now", "flush"),
    "nothing was said": ({"reason": ""}, {}, "unknown", "nothing was said", "flush"),
    "once": (
        {"attempts": 1, "route": "mx:example.net"},
        {},
        "temporary refusal",
        "Tried once at the mail server of example.net",
        "",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_words(name: str) -> None:
    """Why, and what to do."""
    row, circumstances, row_name, why, advice = CASES[name]
    usual = {"is_link_down": False, "is_batch": False}
    told = explain({**USUAL, **row}, NOW, **{**usual, **circumstances})
    assert told.name == row_name
    assert why in told.why
    assert advice in told.advice


@pytest.mark.parametrize("name", CASES)
def test_the_page_names_pages(name: str) -> None:
    """For who looks at the page there is no word of commands or tables of the file."""
    row, circumstances, row_name, _, _ = CASES[name]
    usual = {"is_link_down": False, "is_batch": False}
    told = explain({**USUAL, **row}, NOW, **{**usual, **circumstances}, is_page=True)
    assert told.name == row_name
    assert "cmail " not in told.advice and "[" not in told.advice
    assert told.sentence in told.why


def test_the_raw_reply_is_in_it() -> None:
    """What the server said stands in the answer as it came."""
    told = explain(USUAL, NOW, is_link_down=False, is_batch=False)
    assert "451 4.7.1 try later" in told.why and "451" not in told.sentence


@pytest.mark.parametrize(
    ("ms", "words"),
    [(-5, "0 s"), (119_999, "119 s"), (120_000, "2 min"), (7_199_000, "119 min"), (7_200_000, "2 h"), (172_800_000, "2 days")],
)  # fmt: skip
def test_durations(ms: int, words: str) -> None:
    """Spans of time as people say them."""
    assert duration(ms) == words


def test_a_host_that_a_domain_is_forwarded_to_is_named() -> None:
    """In its words; one in the own network is tried though the line is down."""
    row = {**USUAL, "route": "host:10.0.0.7:25/opportunistic"}
    found = explain(row, NOW, is_link_down=True, is_batch=True)
    assert "at 10.0.0.7, where its domain is forwarded to" in found.why
    far = explain({**USUAL, "route": "host:mail.example.net:25/none"}, NOW, is_link_down=True, is_batch=False)
    assert "off line" in far.why
