"""The log in plain words: every event that is written is read back and said, in both formats."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from cmail.admin.events import KINDS, NOISE, Event
from cmail.admin.journal import ALL, as_object
from cmail.admin.journal_scan import Filter, Wanted, find
from cmail.admin.sentences import _SENTENCES, sentence
from cmail.mail.outcome import Expanded, NotNow, TemporaryFailure
from cmail.mail.queue_id import print_queue_id
from cmail.mail.reply import Reply
from cmail.observe import log_file, maillog
from tests.support.journal import (
    CLIENT,
    FORMS,
    LATER,
    LOCAL,
    NEVER,
    SENT,
    UNKNOWN_USER,
    accept,
    new_id,
    writing,
)

ID: Final = new_id()
NAME: Final = print_queue_id(ID)
REPORT: Final = print_queue_id(ID + 1)
QUOTED: Final = '"a>, relay=evil, delay=1, delays=0/0/0/0, dsn=2.0.0, status=sent (ok)"@example.org'


def refuse(stage: str, **more: str) -> None:
    maillog.refused("smtpd", CLIENT, stage=stage, reply=UNKNOWN_USER, **more)


def fail() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        maillog.failed("page /log")


def of_link(text: str) -> None:
    log_file.identify("link")
    maillog.noted(text)


# What happens, its kind, the sentence. At least a row for each event, and one for each thing that is left out.
ROWS: Final[list[tuple[str, Callable[[], None], str, str]]] = [
    (
        "mail comes in",
        lambda: accept(ID),
        "accepted",
        "Mail from bob@example.net came in from mail.example.net (192.0.2.9) (4.71 KB).",
    ),
    (
        "after a log-in, for two",
        lambda: accept(
            ID,
            "anna@example.org",
            recipients_count=2,
            sasl_method="PLAIN",
            sasl_username="anna",
            tls="TLSv1.3",
            client="unknown[192.0.2.44]",
            size_bytes=12,
        ),
        "accepted",
        "Mail from anna@example.org to 2 recipients came in from 192.0.2.44, logged in as anna (12 octets).",
    ),
    (
        "a bounce comes in",
        lambda: accept(ID, ""),
        "accepted",
        "A notice of a mail system came in from mail.example.net (192.0.2.9) (4.71 KB).",
    ),
    (
        "to another server",
        lambda: maillog.attempted(ID, "bob@example.net", outcome=SENT, delay_s=1),
        "sent",
        "Mail to bob@example.net was delivered to smtp.isp.example.",
    ),
    (
        "into a mailbox",
        lambda: maillog.attempted(
            ID, "anna@example.org", outcome=LOCAL, delay_s=1, original_to="sales@example.org"
        ),
        "sent",
        "Mail was put into the mailbox of anna@example.org (it was for sales@example.org).",
    ),
    (
        "an alias",
        lambda: maillog.attempted(
            ID, "all@example.org", outcome=Expanded(("a@example.org", "b@example.org")), delay_s=1
        ),
        "sent",
        "Mail to all@example.org goes on to a@example.org, b@example.org.",
    ),
    (
        "greylisting",
        lambda: maillog.attempted(ID, "bob@example.net", outcome=LATER, delay_s=100_000),
        "deferred",
        "Mail to bob@example.net could not be delivered yet. Their server wants every new sender to wait a little"
        " (greylisting); it takes the message at a later attempt. It is tried again by itself.",
    ),
    (
        "words that nobody knows",
        lambda: maillog.attempted(
            ID, "bob@example.net", outcome=TemporaryFailure("gnarf", NotNow.MESSAGE), delay_s=1
        ),
        "deferred",
        "Mail to bob@example.net could not be delivered yet. It was said: Gnarf. It is tried again by itself.",
    ),
    (
        "no such user there",
        lambda: maillog.attempted(ID, "bob@example.net", outcome=NEVER, delay_s=1),
        "bounced",
        "Mail to bob@example.net could not be delivered. There is no such mailbox: the recipient's address is"
        " wrong, or not used any more.",
    ),
    (
        "an address that looks like the rest of a line",
        lambda: maillog.attempted(ID, QUOTED, outcome=NEVER, delay_s=1),
        "bounced",
        f"Mail to {QUOTED} could not be delivered. There is no such mailbox: the recipient's address is wrong, or"
        " not used any more.",
    ),
    (
        "given up",
        lambda: maillog.expired(ID, "anna@example.org"),
        "bounced",
        "Mail from anna@example.org was given up: it could not be delivered in time.",
    ),
    (
        "a recipient refused",
        lambda: refuse(
            "RCPT", reverse_path="x@example.com", forward_path="y@example.org", protocol="SMTP", helo="h"
        ),
        "refused",
        "Mail from x@example.com to y@example.org, brought by mail.example.net (192.0.2.9), was refused: no such"
        " user here.",
    ),
    (
        "a sender refused",
        lambda: refuse("MAIL", reverse_path="x@example.com"),
        "refused",
        "Mail from x@example.com, brought by mail.example.net (192.0.2.9), was refused: no such user here.",
    ),
    (
        "a message refused",
        lambda: refuse("END-OF-MESSAGE", reverse_path="x@example.com", helo="h"),
        "refused",
        "Mail from x@example.com, brought by mail.example.net (192.0.2.9), was refused: no such user here.",
    ),
    (
        "a connection refused",
        lambda: maillog.refused(
            "smtpd", CLIENT, stage="CONNECT", reply=Reply(421, None, "too many; try later")
        ),
        "refused",
        "A connection from mail.example.net (192.0.2.9) was refused: too many; try later.",
    ),
    (
        "a command refused",
        lambda: refuse("VRFY"),
        "refused",
        "A command (VRFY) of mail.example.net (192.0.2.9) was refused: no such user here.",
    ),
    (
        "too many errors",
        lambda: maillog.too_many_errors("smtpd", CLIENT, stage="RCPT"),
        "refused",
        "mail.example.net (192.0.2.9) was shown out: it made too many errors.",
    ),
    (
        "a log-in that fails",
        lambda: maillog.login_failed("submission", "unknown[192.0.2.7]", mechanism="PLAIN", username="bob"),
        "login",
        "Log-in as bob from 192.0.2.7 failed.",
    ),
    (
        "a log-in without a name",
        lambda: maillog.login_failed("submission", "unknown[192.0.2.7]", mechanism="PLAIN", username=""),
        "login",
        "Log-in from 192.0.2.7 failed.",
    ),
    (
        "a log-in that has to wait",
        lambda: maillog.login_put_off(
            "submission", "unknown[192.0.2.7]", mechanism="PLAIN", username="bob", reason="too many failed"
        ),
        "login",
        "Log-in as bob from 192.0.2.7 has to wait: too many failed.",
    ),
    (
        "a log-in to the page",
        lambda: maillog.warned("page: a log-in from 192.0.2.7 failed"),
        "login",
        "Page: a log-in from 192.0.2.7 failed.",
    ),
    ("held", lambda: maillog.held(ID, "anna"), "queue", f"Message {NAME} was put on hold by anna."),
    ("released", lambda: maillog.released(ID), "queue", f"Message {NAME} was released by an administrator."),
    (
        "deleted",
        lambda: maillog.deleted(ID),
        "queue",
        f"Message {NAME} was deleted by an administrator. Nobody is told.",
    ),
    *(
        (
            f"the sender is told: {kind}",
            lambda kind=kind: maillog.reported(ID, kind, ID + 1),
            "queue",
            f"The sender of message {NAME} is told {words}, in message {REPORT}.",
        )
        for kind, words in (
            ("failed", "that it could not be delivered"),
            ("delayed", "that it is late, and still tried"),
            ("delivered", "that it has arrived"),
        )
    ),
    (
        "done",
        lambda: maillog.removed(ID),
        "removed",
        f"Message {NAME} is done with: nobody waits for it any more.",
    ),
    (
        "a session",
        lambda: maillog.connected("smtpd", CLIENT),
        "session",
        "mail.example.net (192.0.2.9) has connected.",
    ),
    (
        "its end",
        lambda: maillog.disconnected("smtpd", CLIENT, {"ehlo": 1, "quit": 1}),
        "session",
        "mail.example.net (192.0.2.9) has gone.",
    ),
    ("the line", lambda: of_link("link down (by hand)"), "link", "Link down (by hand)."),
    ("settings", lambda: maillog.noted("settings 2 applied"), "settings", "Settings 2 applied."),
    (
        "settings that are wrong",
        lambda: maillog.warned("settings not applied: smtp.port: must be a port"),
        "settings",
        "Settings not applied: smtp.port: must be a port.",
    ),
    ("the server", lambda: maillog.noted("ready: version 1"), "server", "Ready: version 1."),
    ("a warning", lambda: maillog.warned("a disk is full"), "warning", "A disk is full."),
    ("a mistake", fail, "error", "A mistake of the program; mail is kept. Page /log."),
]
HAPPENED: Final = pytest.mark.parametrize(
    ("happen", "kind", "words"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)


def written(folder: Path, form: str, happen: Callable[[], None], kinds: frozenset[str] = ALL) -> list[Event]:
    with writing(folder, form):
        happen()
    return list(find(str(folder), Wanted(kinds=kinds), 100).events)


@pytest.mark.parametrize("form", FORMS)
@HAPPENED
def test_sentence(tmp_path: Path, form: str, happen: Callable[[], None], kind: str, words: str) -> None:
    """One event, its kind and its words; and a block that has it is not passed over when it alone is wanted."""
    [event] = written(tmp_path / "log", form, happen)
    assert (event.kind, sentence(event)) == (kind, words)
    assert written(tmp_path / "log", form, lambda: None, frozenset((kind,))) == [event]
    octets = b"".join(path.read_bytes() for path in (tmp_path / "log").iterdir())
    assert Filter(Wanted(kinds=frozenset((kind,)))).may_be_in(octets)
    assert event.raw == octets.decode().rstrip("\n")


def test_every_event_has_its_row(tmp_path: Path) -> None:
    """The table above reaches every sentence, and every kind that can be chosen."""
    events = [written(tmp_path / str(number), "json", row[1])[0] for number, row in enumerate(ROWS)]
    assert {event.what for event in events} == set(_SENTENCES)
    assert {event.kind for event in events} == set(KINDS) > NOISE


@pytest.mark.parametrize("form", FORMS)
def test_an_event_for_programs(tmp_path: Path, form: str) -> None:
    """The API gives the same: a JSON object with time, kind, sentence, fields and line."""
    [event] = written(tmp_path / "log", form, lambda: accept(ID))
    told = json.loads(json.dumps(as_object(event)))
    assert (told["kind"], told["id"], told["fields"]["reverse_path"]) == ("accepted", NAME, "bob@example.net")
    assert (
        told["time"].endswith("Z") and NAME in told["line"] and told["sentence"].startswith("Mail from bob")
    )


EVIL: Final = [
    ("a line end", "x\r\nNov 23 04:27:14 mx cmail/qmgr[1]: 128GGYHYYKD9A: removed"),
    ("an escape", "\x1b]0;owned\x07\x1b[2J"),
    ("other line ends", "a\u2028b\u0085c\x0bd"),
    ("writing that turns round", "a\u202eb"),
    ("JSON", 'x","event":"removed","queue_id":"128GGYHYYKD9A'),
    ("a surrogate", "\udc80"),
    ("zero", "\0"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("evil", [row[1] for row in EVIL], ids=[row[0] for row in EVIL])
def test_what_a_peer_says_makes_no_other_event(tmp_path: Path, form: str, evil: str) -> None:
    """In a HELO name, an address, a Message-ID, a reply: there is one event for each that happened, and nothing
    in it but what prints."""

    def happen() -> None:
        accept(ID, f'"{evil}"@example.net', helo=evil, message_id=evil)
        refuse("RCPT", reverse_path=evil, forward_path=evil, helo=evil)
        maillog.attempted(ID, evil, outcome=TemporaryFailure(evil, NotNow.MESSAGE), delay_s=1)
        maillog.login_failed("smtpd", CLIENT, mechanism="PLAIN", username=evil)

    events = written(tmp_path / "log", form, happen)
    assert [event.kind for event in events] == ["login", "deferred", "refused", "accepted"]
    for event in events:
        assert sentence(event).isprintable()
        assert all(line.isprintable() for line in event.raw.split("\n"))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "{}",
        "[]",
        "{" * 5000,
        '{"time":1,"event":"sent"}',
        '{"time":"2026-11-23T04:27:14.000Z","event":"attempted"}',
        '{"time":"2026-99-99T99:99:99.000Z","event":["x"]}',
        "Nov 23 04:27:14 mx cmail/qmgr[1]: 128GGYHYYKD9A: ",
        "Xyz 99 99:99:99 mx cmail/qmgr[1]: 128GGYHYYKD9A: removed",
        "Nov 23 04:27:14 mx postfix/qmgr[1]: 128GGYHYYKD9A: removed",
        "\x00\xff" * 100,
    ],
)
def test_a_line_that_is_none_of_ours(tmp_path: Path, line: str) -> None:
    """Garbage between lines is passed over: those around it are read."""
    with writing(tmp_path / "log"):
        maillog.noted("before")
    [path] = (tmp_path / "log").iterdir()
    path.write_bytes(path.read_bytes() + line.encode("latin-1", "replace") + b"\n")
    with writing(tmp_path / "log"):
        maillog.noted("after")
    said = [sentence(event) for event in find(str(tmp_path / "log"), Wanted(kinds=ALL), 100).events]
    assert (said[0], said[-1]) == ("After.", "Before.")
