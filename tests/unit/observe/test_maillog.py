"""The log: Postfix's lines, JSON lines, nothing forged, nothing that blocks."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmail.mail.address import parse_address
from cmail.mail.outcome import Delivered, Expanded, NotNow, PermanentFailure, TemporaryFailure
from cmail.mail.queue_id import parse_queue_id
from cmail.mail.reply import Reply
from cmail.mail.status import BAD_MAILBOX, Detail, EnhancedStatus, StatusClass
from cmail.observe import log_file, maillog, metrics
from cmail.observe.settings import LogSettings
from cmail.observe.sink import Sink
from cmail.settings import SettingError

ID = parse_queue_id("128GGYHYYKD9A")
REPORT = parse_queue_id("128GGYHYYKD9B")
CLIENT = "mail.example.net[192.0.2.9]"
ANNA = parse_address(b"anna@example.org")
UNKNOWN_USER = Reply(550, EnhancedStatus(StatusClass.PERMANENT, BAD_MAILBOX), "no such user")
STAMP = re.compile(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d mx (cmail/[\w-]+)\[\d+\]: (.*)")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """The log goes into a file; calling this reads its lines."""
    path = tmp_path / "mail.log"
    log_file.open(LogSettings("postfix", str(path)), "mx", "worker-0")
    yield lambda: path.read_text().splitlines()
    log_file.open(LogSettings())


def accept(**changes: object) -> None:
    told: dict[str, object] = {
        "client": CLIENT,
        "helo": "mail.example.net",
        "protocol": "ESMTP",
        "message_id": "<1@example.net>",
        "reverse_path": "bob@example.net",
        "size_bytes": 4711,
        "recipients_count": 2,
        **changes,
    }
    maillog.accepted(ID, **told)  # type: ignore[arg-type]


SENT = Delivered("mx.example.com[192.0.2.1]:25", "250 2.0.0 ok", Detail(1, 5))
LATER = TemporaryFailure("connection refused", NotNow.HOST, Detail(4, 1))
NEVER = PermanentFailure("host said: 550 5.1.1 no", BAD_MAILBOX, "mx[192.0.2.1]:25", UNKNOWN_USER)
LINES: list[tuple[str, Callable[[], None], list[tuple[str, str]]]] = [
    (
        "a message comes in",
        accept,
        [
            ("smtpd", f"128GGYHYYKD9A: client={CLIENT}, proto=ESMTP, helo=<mail.example.net>"),
            ("cleanup", "128GGYHYYKD9A: message-id=<1@example.net>"),
            ("qmgr", "128GGYHYYKD9A: from=<bob@example.net>, size=4711, nrcpt=2 (queue active)"),
        ],
    ),
    (
        "after a log-in",
        lambda: accept(sasl_method="PLAIN", sasl_username="anna@example.org", tls="TLSv1.3"),
        [
            (
                "smtpd",
                f"128GGYHYYKD9A: client={CLIENT}, sasl_method=PLAIN, sasl_username=anna@example.org,"
                " proto=ESMTP, helo=<mail.example.net>, tls=TLSv1.3",
            ),
            ("cleanup", "128GGYHYYKD9A: message-id=<1@example.net>"),
            ("qmgr", "128GGYHYYKD9A: from=<bob@example.net>, size=4711, nrcpt=2 (queue active)"),
        ],
    ),
    (
        "a session",
        lambda: maillog.connected("smtpd", CLIENT),
        [("smtpd", f"connect from {CLIENT}")],
    ),
    (
        "its end",
        lambda: maillog.disconnected("smtpd", CLIENT, {"ehlo": 1, "quit": 1}),
        [("smtpd", f"disconnect from {CLIENT} ehlo=1 quit=1 commands=2")],
    ),
    (
        "a recipient refused",
        lambda: maillog.refused(
            "smtpd",
            CLIENT,
            stage="RCPT",
            reply=UNKNOWN_USER,
            reverse_path="",
            forward_path="x@example.org",
            protocol="ESMTP",
            helo="h",
        ),
        [
            (
                "smtpd",
                f"NOQUEUE: reject: RCPT from {CLIENT}: 550 5.1.1 no such user;"
                " from=<> to=<x@example.org> proto=ESMTP helo=<h>",
            )
        ],
    ),
    (
        "too many errors",
        lambda: maillog.too_many_errors("smtpd", CLIENT, stage="RCPT"),
        [("smtpd", f"too many errors after RCPT from {CLIENT}")],
    ),
    (
        "a log-in that fails",
        lambda: maillog.login_failed("smtpd", CLIENT, mechanism="PLAIN", username="anna"),
        [
            (
                "smtpd",
                f"warning: {CLIENT}: SASL PLAIN authentication failed: authentication failure,"
                " sasl_username=anna",
            )
        ],
    ),
    (
        "a log-in that has to wait",
        lambda: maillog.login_put_off("smtpd", CLIENT, mechanism="PLAIN", username="anna", reason="too many"),
        [("smtpd", f"warning: {CLIENT}: SASL PLAIN log-in put off: too many, sasl_username=anna")],
    ),
    (
        "sent",
        lambda: maillog.attempted(ID, ANNA, outcome=SENT, delay_s=1.234, delays=(0.5, 0, 0.02, 0.714)),
        [
            (
                "smtp",
                "128GGYHYYKD9A: to=<anna@example.org>, relay=mx.example.com[192.0.2.1]:25, delay=1.2,"
                " delays=0.5/0/0.02/0.71, dsn=2.1.5, status=sent (250 2.0.0 ok)",
            )
        ],
    ),
    (
        "deferred",
        lambda: maillog.attempted(ID, ANNA, outcome=LATER, delay_s=86400, original_to="all@example.org"),
        [
            (
                "smtp",
                "128GGYHYYKD9A: to=<anna@example.org>, orig_to=<all@example.org>, relay=none, delay=86400,"
                " delays=0/0/0/0, dsn=4.4.1, status=deferred (connection refused)",
            )
        ],
    ),
    (
        "bounced, and the clock was set back",
        lambda: maillog.attempted(ID, ANNA, outcome=NEVER, delay_s=-5, service="lmtp"),
        [
            (
                "lmtp",
                "128GGYHYYKD9A: to=<anna@example.org>, relay=mx[192.0.2.1]:25, delay=0,"
                " delays=0/0/0/0, dsn=5.1.1, status=bounced (host said: 550 5.1.1 no)",
            )
        ],
    ),
    (
        "into a mailbox",
        lambda: maillog.attempted(
            ID, ANNA, outcome=Delivered("local", "delivered", is_local=True), delay_s=0.001
        ),
        [
            (
                "local",
                "128GGYHYYKD9A: to=<anna@example.org>, relay=local, delay=0.001, delays=0/0/0/0,"
                " dsn=2.0.0, status=sent (delivered)",
            )
        ],
    ),
    (
        "an alias",
        lambda: maillog.attempted(ID, ANNA, outcome=Expanded(("a@b.example", "c@b.example")), delay_s=0),
        [
            (
                "local",
                "128GGYHYYKD9A: to=<anna@example.org>, relay=alias, delay=0, delays=0/0/0/0,"
                " dsn=2.0.0, status=sent (expanded to a@b.example, c@b.example)",
            )
        ],
    ),
    ("the end", lambda: maillog.removed(ID), [("qmgr", "128GGYHYYKD9A: removed")]),
    (
        "given up",
        lambda: maillog.expired(ID, "bob@example.net", ANNA),
        [("qmgr", "128GGYHYYKD9A: from=<bob@example.net>, status=expired, returned to sender")],
    ),
    (
        "a bounce",
        lambda: maillog.reported(ID, "failed", REPORT),
        [("bounce", "128GGYHYYKD9A: sender non-delivery notification: 128GGYHYYKD9B")],
    ),
    ("held", lambda: maillog.held(ID), [("queue", "128GGYHYYKD9A: placed on hold by operator")]),
    ("released", lambda: maillog.released(ID), [("queue", "128GGYHYYKD9A: released from hold by operator")]),
    ("deleted", lambda: maillog.deleted(ID), [("queue", "128GGYHYYKD9A: deleted by operator")]),
    ("a warning", lambda: maillog.warned("disk low"), [("worker-0", "warning: disk low")]),
    ("a note", lambda: maillog.noted("ready"), [("worker-0", "ready")]),
]


@pytest.mark.parametrize(("say", "expected"), [row[1:] for row in LINES], ids=[row[0] for row in LINES])
def test_lines_in_postfixs_grammar(
    log: Callable[[], list[str]], say: Callable[[], None], expected: list[tuple[str, str]]
) -> None:
    """Each event prints what reports and filters for Postfix look for."""
    say()
    found = [STAMP.fullmatch(line) for line in log()]
    assert [m and (m[1], m[2]) for m in found] == [(f"cmail/{service}", text) for service, text in expected]


@pytest.mark.parametrize("say", [row[1] for row in LINES], ids=[row[0] for row in LINES])
def test_json_lines(tmp_path: Path, say: Callable[[], None]) -> None:
    """Each event is one object with its time in UTC and its own name."""
    path = tmp_path / "mail.log"
    log_file.open(LogSettings("json", str(path)), "mx", "worker-0")
    try:
        say()
    finally:
        log_file.open(LogSettings())
    (line,) = path.read_text().splitlines()
    told = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["time"])
    assert told["event"]
    assert (told["host"], told["pid"]) == ("mx", os.getpid())


@pytest.mark.parametrize("form", ["postfix", "json"])
@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", "a\0b", "a\x1b[2Jb", "a\x7fb", "ä\u2028b", "ä\x9bb\nc"])
def test_nothing_in_a_value_ends_a_line_or_speaks_to_the_terminal(
    tmp_path: Path, form: str, evil: str
) -> None:
    """Rule 17: a HELO name with control characters makes no line of its own and sends no escapes."""
    path = tmp_path / "mail.log"
    log_file.open(LogSettings(form, str(path)), "mx")  # type: ignore[arg-type]
    try:
        accept(helo=evil)
    finally:
        log_file.open(LogSettings())
    lines = path.read_bytes().decode().split("\n")
    assert len(lines) == (4 if form == "postfix" else 2)
    assert all(line.isprintable() for line in lines)
    if form == "json":
        assert json.loads(lines[0])["helo"].isprintable()


def test_lines_of_one_turn_are_written_together(log: Callable[[], list[str]]) -> None:
    """In the event loop nothing is written before the turn ends, then everything, in order."""

    async def two_turns() -> None:
        for number in range(3):
            maillog.noted(f"line {number}")
        assert log() == []
        await asyncio.sleep(0)
        assert [line[-6:] for line in log()] == ["line 0", "line 1", "line 2"]
        maillog.noted("line 3")

    asyncio.run(two_turns())
    assert log()[-1].endswith("line 3")


def test_the_trace_of_a_mistake_is_in_the_log(log: Callable[[], list[str]]) -> None:
    """failed() says what happened and where, each line with its stamp."""
    try:
        raise ValueError("two\nlines")
    except ValueError:
        maillog.failed("reply to Rcpt")
    lines = log()
    assert lines[0].endswith("error: reply to Rcpt")
    assert any("ValueError: two" in line for line in lines)
    assert all(STAMP.fullmatch(line) for line in lines)


def test_a_rotated_log_goes_on_under_its_name(log: Callable[[], list[str]], tmp_path: Path) -> None:
    """After reopen() lines are in the new file; when it cannot be opened, in the old one."""
    maillog.noted("before")
    os.rename(tmp_path / "mail.log", tmp_path / "mail.log.1")
    log_file.reopen()
    maillog.noted("after")
    assert [line[-5:] for line in log()] == ["after"]
    os.rename(tmp_path / "mail.log", tmp_path / "mail.log.2")
    (tmp_path / "mail.log").mkdir()
    log_file.reopen()
    assert "cannot be reopened" in (tmp_path / "mail.log.2").read_text()


def test_a_log_that_cannot_be_opened_is_a_setting_error(tmp_path: Path) -> None:
    """The problem names the key and the file, and the log before goes on."""
    with pytest.raises(SettingError, match=r"log\.file: .*nowhere"):
        log_file.open(LogSettings("postfix", str(tmp_path / "nowhere" / "mail.log")))


def test_events_are_counted(log: Callable[[], list[str]]) -> None:
    """Whoever logs an event has counted it."""
    before = metrics.snapshot()
    accept()
    maillog.attempted(ID, ANNA, outcome=SENT, delay_s=0)
    maillog.attempted(ID, ANNA, outcome=LATER, delay_s=0)
    after = metrics.snapshot()

    def grown(name: str, value: str = "") -> int:
        return after[name][value] - before[name].get(value, 0)

    assert grown("cmail_messages_accepted_total") == 1
    assert grown("cmail_recipients_accepted_total") == 2
    assert grown("cmail_octets_accepted_total") == 4711
    assert grown("cmail_recipients_delivered_total", "smtp") == 1
    assert grown("cmail_recipients_deferred_total", "host") == 1


def test_a_full_pipe_blocks_nobody_and_loses_nothing_small() -> None:
    """While nobody reads, lines are kept; when somebody does, all come, whole and in order."""
    read, write = os.pipe()
    sink = Sink(write)
    line = "x" * 99
    for _ in range(3000):  # 300 kB: more than a pipe takes
        sink.put(line)
    found = b""
    while len(found) < 300_000:
        found += os.read(read, 65536)
        sink.flush()
    assert found == (line + "\n").encode() * 3000
    os.close(read)
    os.close(write)


def test_a_pipe_that_nobody_reads_costs_bounded_memory() -> None:
    """Beyond a MiB the oldest lines go, whole ones, and are counted."""
    read, write = os.pipe()
    sink = Sink(write)
    before = metrics.LOG_LINES_LOST.value
    for number in range(20_000):
        sink.put(f"{number:0100}")
    assert len(sink._kept) <= 2**20
    assert metrics.LOG_LINES_LOST.value > before
    assert sink._kept.startswith(b"0")
    assert sink._kept.index(b"\n") == 100
    os.close(read)
    sink.put("nobody is left")  # EPIPE: no error for who logs
    os.close(write)
    sink.put("nor is the file")


def test_a_fork_does_not_repeat_what_its_parent_has_buffered(log: Callable[[], list[str]]) -> None:
    """Lines that were waiting when a process was forked are written once, by the parent."""

    async def fork_in_a_turn() -> None:
        maillog.noted("once")
        child = os.fork()
        if not child:
            log_file.flush()
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222 - nothing else runs in this loop

    asyncio.run(fork_in_a_turn())
    assert [line[-4:] for line in log()] == ["once"]
