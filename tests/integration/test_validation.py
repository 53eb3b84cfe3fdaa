"""Validation on a real Intake: what is refused with which words, what passes unchanged, content in files too."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop

from cmail.mail.address import parse_address
from cmail.mail.content import stuff, unstuff
from cmail.mail.dsn import Action, RecipientReport, Report, compose
from cmail.mail.limits import CONTENT_IN_MEMORY_MAX, HEADER_OCTETS_MAX
from cmail.mail.status import BAD_MAILBOX, StatusClass
from cmail.observe import metrics
from cmail.policy.validation.examine import examine
from cmail.smtpd.context import IntakeContext
from tests.support.intake import ListLog, make_context, running_intake

CORPUS: Final = Path(__file__).parents[1] / "corpus" / "validation"
PAD: Final = (b"x" * 70 + b"\r\n") * (CONTENT_IN_MEMORY_MAX // 72 + 100)  # makes a file of it
FIELDS: Final = b"From: a@example.net\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\nMessage-ID: <1@x>\r\n"


def corpus() -> dict[str, tuple[str, str, str]]:
    """Name -> sender or report, verdict, notes."""
    found = {}
    for line in (CORPUS / "verdicts").read_text().splitlines():
        if not line.startswith("#"):
            name, who, verdict, *notes = (cell.strip() for cell in line.split("|"))
            found[name] = who, verdict, notes[0] if notes else ""
    return found


def octets(name: str) -> bytes:
    """A message of the corpus, CRLF lines."""
    return (CORPUS / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")


async def send(context: IntakeContext, messages: list[tuple[str, bytes]], kind: Any = "smtp") -> list[str]:
    """All of them in one session, from <> or somebody; the reply to each final dot."""
    replies = []
    async with running_intake(context, kind) as (_, [port]):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def say(line: bytes) -> str:
            writer.write(line)
            while True:
                reply = (await asyncio.wait_for(reader.readline(), 60)).decode()
                if reply[3:4] == " ":
                    return reply

        await asyncio.wait_for(reader.readline(), 60)
        await say(b"EHLO client.example\r\n")
        for sender, content in messages:
            assert (await say(b"MAIL FROM:<%b>\r\n" % sender.encode())).startswith("250")
            assert (await say(b"RCPT TO:<anna@example.org>\r\n")).startswith("250")
            assert (await say(b"DATA\r\n")).startswith("354")
            replies.append(await say(stuff(content) + b".\r\n"))
        writer.close()
    return replies


def kept(context: IntakeContext) -> list[Any]:
    """What the spool has."""
    spool: Any = context.spool
    return [each.new for each in spool._messages.values()]


def below(new: Any) -> bytes:
    """What came, without what we put on top."""
    content = new.content
    wire = content.octets
    if content.path:
        with open(content.path, "rb") as file:
            wire = file.read()
    return unstuff(wire)


def play(context: IntakeContext, *messages: bytes, sender: str = "a@example.net") -> list[str]:
    """The replies."""
    return uvloop.run(send(context, [(sender, each) for each in messages]))


@pytest.mark.limit(300)
def test_the_whole_corpus_over_smtp() -> None:
    """What the table refuses gets 550 with the rule's words; all else is kept octet for octet as it came, and in
    order."""
    context = make_context(validation=True)
    rows = corpus()
    messages = [
        ("" if who == "report" else "a@example.net", octets(name)) for name, (who, _, _) in rows.items()
    ]
    replies = []
    for at in range(0, len(messages), 15):  # a session is ended after 20 errors
        replies += uvloop.run(send(context, messages[at : at + 15]))
    passed = []
    for (name, (_, verdict, _)), (_, content), reply in zip(rows.items(), messages, replies, strict=True):
        assert reply.startswith("250 " if verdict == "pass" else "550 5.6.0 Validation: "), (name, reply)
        passed += [content] if verdict == "pass" else []
    assert [below(new) for new in kept(context)] == passed


@pytest.mark.parametrize("is_large", [False, True], ids=["in memory", "in a file"])
def test_the_end_is_judged_too(is_large: bool) -> None:
    """A boundary is looked for to the last line; a file of what is refused does not stay."""
    context = make_context(validation=True)
    head = FIELDS + b'Content-Type: multipart/mixed; boundary="abc"\r\n\r\n' + PAD * is_large
    replies = play(context, head + b"--abc\r\n\r\nx\r\n--abc--\r\n", head + b"--abd\r\n\r\nx\r\n--abd--\r\n")
    assert (
        replies[0].startswith("250") and "the boundary that a multipart names appears nowhere" in replies[1]
    )
    [new] = kept(context)
    assert bool(new.content.path) == is_large
    log = context.maillog
    assert isinstance(log, ListLog)
    [refused] = log.of("refused")
    assert refused["stage"] == "END-OF-MESSAGE" and "550 5.6.0" in str(refused["reply"])
    if is_large:
        folder = os.path.dirname(new.content.path)
        assert os.listdir(folder) == [os.path.basename(new.content.path)]


def test_many_lines_are_judged_in_a_thread() -> None:
    """What would keep the event loop busy has the same verdict."""
    context = make_context(validation=True)
    head = FIELDS + b'Content-Type: multipart/mixed; boundary="abc"\r\n\r\n' + b"--no\r\n" * 2000
    replies = play(context, head, head + b"--abc\r\n\r\nx\r\n--abc--\r\n", FIELDS + b"\r\nafter\r\n")
    assert [reply[:3] for reply in replies] == ["550", "250", "250"]


def test_lmtp_tells_every_recipient() -> None:
    """One reply a recipient (RFC 2033)."""

    async def run() -> bytes:
        async with running_intake(make_context(validation=True), "lmtp") as (_, [port]):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"LHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<anna@example.org>\r\n")
            writer.write(b"RCPT TO:<bert@example.org>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n")
            found = await asyncio.wait_for(reader.read(), 60)
            writer.close()
            return found

    assert (
        uvloop.run(run()).count(b"550 5.6.0 Validation: From: the field is missing (RFC 5322 3.6)\r\n") == 2
    )


def test_switched_off() -> None:
    """Everything passes but what must never pass: a bare CR or LF, NUL, and a header without end."""
    context = make_context(validation=False)
    long = FIELDS + b"X: " + b"x" * (HEADER_OCTETS_MAX + 1000) + b"\r\n\r\nx\r\n"
    bad = [b"\r\nno header\r\n", b"no\rend\r\n", b"no\nend\r\n", b"no\0end\r\n", long]
    replies = play(context, *bad)
    assert [reply[:9] for reply in replies] == ["250 2.0.0", *["550 5.6.0"] * 3, "552 5.3.4"]
    again = play(make_context(validation=True), *bad)
    assert [reply[:9] for reply in again] == ["550 5.6.0"] * 4 + ["552 5.3.4"]


def test_it_is_counted_by_rule_and_by_sender() -> None:
    """Refusals by their rule; notes by rule and by sender, newest last, in a table that does not grow."""
    refused = metrics.VALIDATION_REFUSED.of("from-missing")
    noted = metrics.VALIDATION_NOTED.of("date-missing")
    before = refused.value, noted.value

    async def run(context: IntakeContext) -> list[dict[str, Any]]:
        async with running_intake(context) as (intake, [port]):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"EHLO x\r\n")
            for sender in (b"scanner@example.net", b"", b"scanner@example.net"):
                writer.write(b"MAIL FROM:<%b>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n" % sender)
                writer.write(b"From: <s@example.net>\r\nMessage-ID: <1@x>\r\n\r\n.\r\n")
            writer.write(
                b"MAIL FROM:<x@x.example>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\nA: b\r\n\r\n.\r\nQUIT\r\n"
            )
            await asyncio.wait_for(reader.read(), 60)
            writer.close()
            return list(intake.noted.rows())

    rows = uvloop.run(run(make_context(validation=True)))
    assert (refused.value, noted.value) == (before[0] + 1, before[1] + 3)
    assert [(row["sender"], row["messages"], row["rules"]) for row in rows] == [
        ("", 1, {"date-missing": 1}),
        ("scanner@example.net", 2, {"date-missing": 2}),
    ]


REPORTS: Final[dict[str, Callable[[], bytes]]] = {
    "in ASCII": lambda: report("anna@example.org", b"Subject: x\r\n\r\nhello\r\n"),
    "of octets beyond it": lambda: report("jürgen@example.org", b"no field\r\n--x\r\n\xff\xfe\r\n"),
}


def report(to: str, original: bytes) -> bytes:
    """One of our own."""
    address = parse_address(to.encode())
    status = BAD_MAILBOX.with_class(StatusClass.PERMANENT)
    recipient = RecipientReport(address, Action.FAILED, status, "no such user", diagnostic="550 5.1.1 no")
    return compose(
        Report("3ABC", "mail.example.org", address, 10**12, 10**12, (recipient,), "3ABC", original, True)
    )


@pytest.mark.parametrize("name", REPORTS)
def test_our_own_reports_pass(name: str) -> None:
    """What we send ourselves has nothing that we would refuse, nor anything odd."""
    verdict = examine(REPORTS[name](), is_report=True, is_utf8=True)
    assert not verdict.defects, [each.text for each in verdict.defects]
