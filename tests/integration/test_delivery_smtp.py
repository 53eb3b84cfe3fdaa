"""SmtpAgent against a scripted server: stage x trouble -> how the message and the connection end."""

import asyncio
import errno
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from cmail.delivery.agent import Ending, Finished, HostTrouble, RouteRefusal
from cmail.delivery.fit import Fit
from cmail.delivery.settings import AdvancedSettings, SmtpSettings
from cmail.delivery.smtp import SmtpAgent
from cmail.mail.content import Content, from_plain
from cmail.mail.outcome import Delivered, NotNow, PermanentFailure, TemporaryFailure
from cmail.net.clock import RealClock
from tests.support import sink_mx
from tests.support.fake_dns import NXDOMAIN, SERVFAIL, UNREACHABLE, FakeResolver
from tests.support.memory_work import MemoryWork, transaction
from tests.support.sink_mx import CLOSE, HANG, RESET, Reaction, SinkMx

PASSWORD = "correct horse, battery=staple"
PATIENCE = 0.1  # 300 s become 30 s: the machine may have other things to do
HASTE = 0.002  # 0.6 s, where somebody hangs


class Middle:
    """Entropy that always says one half."""

    def jitter(self) -> float:
        return 0.5


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


def settings(port: int, **options: Any) -> SmtpSettings:
    advanced = AdvancedSettings(
        timeout=timedelta(seconds=2),
        idle=timedelta(milliseconds=options.pop("idle_ms", 50)),
        outbound_port=port,
        fallback_to_host=options.pop("fallback_to_host", True),
        messages_per_connection=options.pop("messages_per_connection", 1000),
    )
    return replace(SmtpSettings(host="127.0.0.1", port=port, advanced=advanced), **options)


def agent(
    smtp: SmtpSettings, resolver: FakeResolver | None = None, log: list[str] | None = None, **options: Any
) -> SmtpAgent:
    return SmtpAgent(
        smtp,
        "mail.example.org",
        options.pop("password", lambda: PASSWORD),
        resolver or FakeResolver(),
        RealClock(),
        Middle(),
        options.pop("ca_file", ""),
        log=log.append if log is not None else None,
        patience=options.pop("patience", PATIENCE),
        **options,
    )


def ends(work: MemoryWork, number: int = 1) -> str:
    """How the recipients of a message ended: d, t, p; - when it was put back."""
    letters = {Delivered: "d", TemporaryFailure: "t", PermanentFailure: "p"}
    if number in work.settled:
        return "".join(letters[type(work.settled[number][i])] for i in sorted(work.settled[number]))  # type: ignore[index]
    return "-" if number in work.put_backs else ""


async def relay(sink: SinkMx, work: MemoryWork, smtp: SmtpSettings | None = None, **options: Any) -> Ending:
    ending = await agent(smtp or settings(sink.port), **options).run("relay", work)
    work.check()
    return ending


# stage, what the server does, how two recipients end, how the run ends (F: Finished, H: HostTrouble).
TABLE: Sequence[tuple[str, Mapping[str, Reaction], str, str]] = [
    ("all is well", {}, "dd", "F"),
    ("connect: hangs", {"connect": HANG}, "", "H"),
    ("connect: closes", {"connect": CLOSE}, "", "H"),
    ("connect: resets", {"connect": RESET}, "", "H"),
    ("connect: garbage", {"connect": b"SSH-2.0-OpenSSH\r\n"}, "", "H"),
    ("connect: endless line", {"connect": b"220 " + b"x" * 5000}, "", "H"),
    ("connect: endless reply", {"connect": b"220-x\r\n" * 500}, "", "H"),
    ("connect: 4xx", {"connect": b"421 4.3.2 busy\r\n"}, "", "H"),
    ("connect: 5xx", {"connect": b"554 5.7.1 go away\r\n"}, "", "H"),
    ("EHLO: hangs", {"EHLO": HANG}, "", "H"),
    ("EHLO: closes", {"EHLO": CLOSE}, "", "H"),
    ("EHLO: 4xx", {"EHLO": b"451 4.3.0 later\r\n"}, "", "H"),
    ("EHLO: 5xx, then HELO", {"EHLO": b"502 what?\r\n"}, "dd", "F"),
    ("EHLO and HELO: 5xx", {"EHLO": b"502 what?\r\n", "HELO": b"550 no\r\n"}, "", "H"),
    ("EHLO: garbage", {"EHLO": b"mumble\r\n"}, "", "H"),
    ("MAIL: hangs", {"MAIL": HANG}, "-", "H"),
    ("MAIL: closes", {"MAIL": CLOSE}, "-", "H"),
    ("MAIL: garbage", {"MAIL": b"mumble\r\n"}, "-", "H"),
    ("MAIL: 421", {"MAIL": b"421 4.3.2 busy\r\n"}, "-", "H"),
    ("MAIL: 4xx", {"MAIL": b"451 4.3.0 later\r\n"}, "tt", "F"),
    ("MAIL: 5xx", {"MAIL": b"550 5.1.8 who?\r\n"}, "pp", "F"),
    ("MAIL: 530", {"MAIL": b"530 5.7.0 log in\r\n"}, "-", "H"),
    ("MAIL: 535", {"MAIL": b"535 5.7.8 log in\r\n"}, "-", "H"),
    ("RCPT: 530", {"RCPT": b"530 5.7.0 log in\r\n"}, "-", "H"),
    ("RCPT: 538", {"RCPT": b"538 5.7.11 encrypt\r\n"}, "-", "H"),
    ("RCPT: hangs", {"RCPT": HANG}, "-", "H"),
    ("RCPT: closes", {"RCPT": CLOSE}, "-", "H"),
    ("RCPT: garbage", {"RCPT": b"mumble\r\n"}, "-", "H"),
    ("RCPT: 4xx for one", {"RCPT:b@example.net": b"450 4.2.0 grey\r\n"}, "dt", "F"),
    ("RCPT: 5xx for one", {"RCPT:b@example.net": b"550 5.1.1 who?\r\n"}, "dp", "F"),
    ("RCPT: 5xx for all", {"RCPT": b"550 5.1.1 who?\r\n"}, "pp", "F"),
    ("RCPT: 5xx for all, 354", {"RCPT": b"550 5.1.1 who?\r\n", "DATA": b"354 go\r\n"}, "pp", "F"),
    ("RCPT: 5xx for one, closes", {"RCPT:a@example.net": b"550 5.1.1 who?\r\n", "RCPT": CLOSE}, "pt", "F"),
    ("RCPT: 421", {"RCPT": b"421 4.3.2 busy\r\n"}, "tt", "F"),
    ("RCPT: one too many", {"RCPT:b@example.net@0": b""}, "dd", "F"),
    ("DATA: hangs", {"DATA": HANG}, "-", "H"),
    ("DATA: closes", {"DATA": CLOSE}, "-", "H"),
    ("DATA: 4xx", {"DATA": b"451 4.3.0 later\r\n"}, "tt", "F"),
    ("DATA: 5xx", {"DATA": b"554 5.7.1 no\r\n"}, "pp", "F"),
    ("DATA: 250", {"DATA": b"250 what\r\n"}, "-", "H"),
    ("DATA: 421", {"DATA": b"421 4.3.2 busy\r\n"}, "tt", "F"),
    ("content: hangs", {"content": HANG}, "tt", "F"),
    ("content: closes", {"content": CLOSE}, "tt", "F"),
    ("content: resets", {"content": RESET}, "tt", "F"),
    ("content: garbage", {"content": b"mumble\r\n"}, "tt", "F"),
    ("content: 4xx", {"content": b"451 4.7.1 later\r\n"}, "tt", "F"),
    ("content: 5xx", {"content": b"554 5.7.1 spam\r\n"}, "pp", "F"),
    ("content: 421", {"content": b"421 4.3.2 busy\r\n"}, "tt", "F"),
    ("QUIT: hangs", {"QUIT": HANG}, "dd", "F"),
    ("QUIT: closes", {"QUIT": CLOSE}, "dd", "F"),
]  # fmt: skip


@pytest.mark.parametrize("extensions", [("PIPELINING", "8BITMIME"), ()], ids=["pipelining", "step"])
@pytest.mark.parametrize(
    ("script", "outcome", "ending"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_trouble_at_each_stage(
    script: Mapping[str, Reaction], outcome: str, ending: str, extensions: Sequence[str]
) -> None:
    """Nothing is lost, nothing is bounced that is not refused by a reply, and no run hangs."""
    script = {key: reaction for key, reaction in script.items() if reaction}

    async def main() -> None:
        async with SinkMx(script, extensions) as sink:
            work = MemoryWork([transaction(1, ("a@example.net", "b@example.net"))])
            patience = HASTE if HANG in script.values() else PATIENCE
            end = await asyncio.wait_for(relay(sink, work, patience=patience), 60)
            assert ends(work) == outcome
            assert type(end) is {"F": Finished, "H": HostTrouble}[ending]
            assert len(sink.taken) == ("d" in outcome)

    run(main)


CHUNKED = ("PIPELINING", "8BITMIME", "CHUNKING", "DSN")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({}, "d" * 10),
        ({"RCPT": b"550 5.1.1 who?\r\n"}, "p" * 10),
        ({"content:3": b"451 4.3.0 later\r\n"}, "dddtdddddd"),
        ({"content:3": b"554 5.6.0 no\r\n"}, "dddpdddddd"),
        ({"content:3": b"421 4.3.2 busy\r\n"}, "dddt------"),
        ({"content:3": CLOSE}, "dddt------"),
    ],
)
@pytest.mark.parametrize("extensions", [CHUNKED, ("PIPELINING",), ()], ids=["chunked", "pipelined", "step"])
def test_many_messages_on_a_connection(
    script: Mapping[str, Reaction], expected: str, extensions: Sequence[str]
) -> None:
    """Each message has its own end, whatever happens to the one before it; none arrives twice."""

    async def main() -> None:
        async with SinkMx(script, extensions) as sink:
            work = MemoryWork([transaction(n, (f"{n}@example.net",)) for n in range(10)])
            await relay(sink, work)
            got = "".join(ends(work, n) or "." for n in range(10))
            if "-" in expected:
                assert got[:4] == expected[:4] and set(got[4:]) <= {"-", "."}
            else:
                assert got == expected
            to = [taken.recipients[0] for taken in sink.taken]
            assert len(to) == len(set(to)) == got.count("d")
            assert sink.connections == 1

    run(main)


def test_a_connection_says_from_which_address_it_goes() -> None:
    """A link that goes away takes its addresses along: whoever goes from them is ended at once."""

    async def main() -> None:
        async with SinkMx({}) as sink:
            work = MemoryWork([transaction(1)])
            await relay(sink, work)
            assert work.addresses == ["127.0.0.1"] and ends(work) == "d"

    run(main)


def test_refused_recipient_does_not_join_the_next_message() -> None:
    """A server that keeps a refused BDAT transaction open must not mix two messages."""

    async def main() -> None:
        script = {f"RCPT:{n}@example.net": b"550 5.1.1 who?\r\n" for n in range(0, 20, 2)}
        async with SinkMx(script, CHUNKED) as sink:
            work = MemoryWork(
                [transaction(n, (f"{n}@example.net",), sender=f"s{n}@example.org") for n in range(20)]
            )
            await relay(sink, work)
            assert "".join(ends(work, n) for n in range(20)) == "pd" * 10
            assert [(t.mail.split(">")[0][11:], t.recipients) for t in sink.taken] == [
                (f"s{n}@example.org", [f"RCPT TO:<{n}@example.net>"]) for n in range(1, 20, 2)
            ]

    run(main)


def test_content_arrives_as_it_was() -> None:
    """Dots, long lines and 8-bit octets arrive octet for octet by DATA and BDAT."""
    text = b"Subject: x\n\n.\n..\n...\n" + b"x" * 5000 + b"\n\xc3\xa4\xff\n.end\n"

    async def main() -> None:
        for extensions in (CHUNKED, ("PIPELINING",), ()):
            async with SinkMx(extensions=extensions) as sink:
                await relay(sink, MemoryWork([transaction(content=from_plain(text))]))
                assert sink.taken[0].content == text.replace(b"\n", b"\r\n")
                assert sink.taken[0].by_bdat == (extensions is CHUNKED)

    run(main)


def filed(path: Path, octets_count: int) -> Content:
    line = b"..x" + b"y" * 96 + b"\r\n"
    wire = b"Subject: big\r\n\r\n" + line * (octets_count // len(line))
    path.write_bytes(wire)
    prefix = b"Received: here\r\n"
    return Content(prefix, b"", len(prefix) + len(wire) - wire.count(b"\r\n.."), str(path), len(wire))


@pytest.mark.parametrize("extensions", [CHUNKED, ("PIPELINING",), ()], ids=["chunked", "pipelined", "step"])
def test_content_in_files_is_streamed(tmp_path: Path, extensions: Sequence[str]) -> None:
    """Large messages among small ones: all arrive whole, in order, on one connection."""

    async def main() -> None:
        big = filed(tmp_path / "big", 3_000_000)
        exact = filed(tmp_path / "exact", 70_000)
        async with SinkMx(extensions=extensions) as sink:
            contents = [None, big, None, exact, exact, None]
            work = MemoryWork([transaction(n, content=content) for n, content in enumerate(contents)])
            await asyncio.wait_for(relay(sink, work), 60)
            assert "".join(ends(work, n) for n in range(6)) == "dddddd"
            assert [len(taken.content) for taken in sink.taken][1:4:2] == [big.size_bytes, exact.size_bytes]
            assert sink.taken[1].content.endswith(b"\r\n.x" + b"y" * 96 + b"\r\n")
            assert sink.connections == 1

    run(main)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("missing", "t"), ("short", "t")],
)
def test_file_that_cannot_be_read_whole_is_not_sent_as_if_it_were(
    tmp_path: Path, name: str, expected: str
) -> None:
    """No final dot goes out after half a message; the next message goes to another connection."""

    async def main() -> None:
        content = filed(tmp_path / "short", 1_000_000)
        (tmp_path / "short").write_bytes(b"Subject: big\r\n\r\n")
        content = replace(content, path=str(tmp_path / name))
        async with SinkMx() as sink:
            work = MemoryWork([transaction(1, content=content), transaction(2)])
            ending = await relay(sink, work)
            assert ends(work) == expected and not sink.taken
            assert isinstance(ending, Finished)
            await relay(sink, work)
            assert ends(work, 2) == "d"

    run(main)


def test_server_that_stops_reading_does_not_fill_memory(tmp_path: Path) -> None:
    """A peer that hangs within the content ends by time-out; the file is not read on meanwhile."""

    async def main() -> None:
        content = filed(tmp_path / "big", 30_000_000)
        async with SinkMx({"in content": HANG}) as sink:
            work = MemoryWork([transaction(1, content=content)])
            ending = await asyncio.wait_for(relay(sink, work, patience=HASTE), 60)
            assert ends(work) == "-" and isinstance(ending, HostTrouble)

    run(main)


def test_message_that_always_ends_the_connection_is_not_tried_for_ever() -> None:
    """The first time it is put back, the second time it is deferred and the others go on."""

    async def main() -> None:
        async with SinkMx({"RCPT:poison@example.net": CLOSE}) as sink:
            work = MemoryWork(
                [transaction(1, ("poison@example.net",)), transaction(2), transaction(3)], keeps_put_back=True
            )
            smtp = agent(settings(sink.port))
            endings = [await smtp.run("relay", work) for _ in range(3)]
            work.check()
            assert [type(end) for end in endings] == [HostTrouble, Finished, Finished]
            assert work.put_backs == [1]
            assert [ends(work, n) for n in (1, 2, 3)] == ["t", "d", "d"]

    run(main)


def test_421_between_messages_is_an_orderly_end() -> None:
    """A server that limits messages a connection costs no attempt and no rest."""

    async def main() -> None:
        calls = iter(range(100))
        sink = SinkMx({})

        def count(stage: str) -> None:
            if stage == "MAIL" and next(calls) == 2:
                sink.script = {"MAIL": b"421 4.7.0 enough for this connection\r\n"}
            elif stage == "connect":
                sink.script = {}

        sink.on_stage = count
        async with sink:
            work = MemoryWork([transaction(n) for n in range(4)], keeps_put_back=True)
            smtp = agent(settings(sink.port))
            assert await smtp.run("relay", work) == Finished(2, closed_after=2)
            assert isinstance(await smtp.run("relay", work), Finished)
            assert "".join(ends(work, n) for n in range(4)) == "dddd"

    run(main)


def test_connection_waits_for_more_and_then_quits() -> None:
    """It is kept for the idle time; a message that comes meanwhile goes over it; then QUIT in order."""

    async def main() -> None:
        taken = asyncio.Event()
        async with SinkMx(on_stage=lambda stage: taken.set() if stage == "content" else None) as sink:
            work = MemoryWork([transaction(1)])
            running = asyncio.create_task(relay(sink, work, settings(sink.port, idle_ms=300)))
            await asyncio.wait_for(taken.wait(), 60)
            work.add(transaction(2))
            assert await running == Finished(2)
            assert (sink.connections, len(sink.taken), sink.heard[-1]) == (1, 2, "QUIT")

    run(main)


def test_connection_ends_after_its_number_of_messages() -> None:
    """messages_per_connection is kept; the rest is not taken."""

    async def main() -> None:
        async with SinkMx() as sink:
            work = MemoryWork([transaction(n) for n in range(5)])
            assert await relay(sink, work, settings(sink.port, messages_per_connection=3)) == Finished(3)
            assert len(work.ready) == 2 and sink.heard[-1] == "QUIT"

    run(main)


# Cancellation: the link went down, or we stop.


@pytest.mark.parametrize("stage", ["connect", "EHLO", "MAIL", "RCPT", "DATA"])
def test_cancelled_before_the_content_puts_all_back(stage: str) -> None:
    """Nothing was sent that could arrive, so no attempt is counted."""

    async def main() -> None:
        reached = asyncio.Event()
        sink = SinkMx({stage: HANG}, on_stage=lambda s: reached.set() if s == stage else None)
        async with sink:
            work = MemoryWork([transaction(1), transaction(2)])
            running = asyncio.create_task(agent(settings(sink.port), patience=1).run("relay", work))
            await asyncio.wait_for(reached.wait(), 60)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(running, 20)
            work.check()
            assert not work.settled and len(work.ready) + len(work.put_backs) == 2

    run(main)


@pytest.mark.parametrize("answers", [True, False])
def test_cancelled_after_the_final_dot_waits_for_the_reply(answers: bool) -> None:
    """The reply that comes within the minute counts; without it the message goes again, no attempt is counted,
    and the log says that it may arrive twice."""

    async def main() -> None:
        gate = asyncio.Event()
        reached = asyncio.Event()
        async with SinkMx() as sink:
            say = sink_mx._Conversation.say

            async def slow(self: Any, stage: str, reply: bytes, detail: str = "") -> bytes:
                if stage == "content":
                    reached.set()
                    await gate.wait()
                return await say(self, stage, reply, detail)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sink_mx._Conversation, "say", slow)
                work = MemoryWork([transaction(1), transaction(2)])
                patience = 1 if answers else 0.005
                log: list[str] = []
                running = asyncio.create_task(
                    agent(settings(sink.port), patience=patience, log=log).run("relay", work)
                )
                await asyncio.wait_for(reached.wait(), 60)
                running.cancel()
                await asyncio.sleep(0)
                if answers:
                    gate.set()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(running, 60)
            work.check()
            assert ends(work) == ("d" if answers else "-")
            assert any("a message may have arrived" in line for line in log) is not answers
            assert ends(work, 2) in ("-", "")

    run(main)


# TLS.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


# mode of the settings, what the server has, whether it arrives, and encrypted.
TLS_TABLE = [
    ("none", "STARTTLS", "good", "plain"),
    ("opportunistic", "STARTTLS", "good", "encrypted"),
    ("opportunistic", "STARTTLS", "other name", "encrypted"),
    ("opportunistic", "STARTTLS", "other authority", "encrypted"),
    ("opportunistic", "nothing", "good", "plain"),
    ("opportunistic", "454", "good", "plain"),
    ("opportunistic", "broken handshake", "good", "plain"),
    ("required", "STARTTLS", "good", "encrypted"),
    ("required", "STARTTLS", "other name", "not sent"),
    ("required", "STARTTLS", "other authority", "not sent"),
    ("required", "nothing", "good", "not sent"),
    ("required", "454", "good", "not sent"),
    ("required", "broken handshake", "good", "not sent"),
    ("implicit", "implicit", "good", "encrypted"),
    ("implicit", "implicit", "other name", "not sent"),
    ("implicit", "implicit", "other authority", "not sent"),
    ("implicit", "nothing", "good", "not sent"),
]


@pytest.mark.parametrize(
    ("mode", "has", "certificate", "expected"), TLS_TABLE, ids=["-".join(r) for r in TLS_TABLE]
)
def test_tls_is_as_the_settings_demand(
    authority: trustme.CA, tmp_path: Path, mode: Any, has: str, certificate: str, expected: str
) -> None:
    """Required and implicit send nothing to who does not prove its name; opportunistic always sends."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    issuer = trustme.CA() if certificate == "other authority" else authority
    context = server_context(issuer, "else.example" if certificate == "other name" else "smtp.example.net")
    script: dict[str, Reaction] = {}
    extensions = ["PIPELINING"]
    if has in ("454", "broken handshake"):
        extensions.append("STARTTLS")
        script["STARTTLS"] = b"454 4.7.0 not now\r\n" if has == "454" else b"220 go on\r\n"

    async def main() -> None:
        tls = context if has in ("STARTTLS", "implicit") else None
        async with SinkMx(script, extensions, tls=tls, is_implicit_tls=has == "implicit") as sink:
            work = MemoryWork([transaction(1)])
            smtp = settings(sink.port, tls=mode, host="smtp.example.net")
            resolver = FakeResolver(hosts={"smtp.example.net": ["127.0.0.1"]})
            ending = await relay(sink, work, smtp, resolver=resolver, ca_file=str(ca_file), patience=0.02)
            if expected == "not sent":
                assert isinstance(ending, HostTrouble) and ending.failure.kind is NotNow.HOST
                assert not sink.taken and not sink.lines("MAIL") and len(work.ready) == 1
            else:
                assert [taken.is_encrypted for taken in sink.taken] == [expected == "encrypted"]

    run(main)


def test_extensions_are_asked_for_again_after_starttls(authority: trustme.CA) -> None:
    """What was offered in the clear is forgotten (RFC 3207 §4.2)."""

    async def main() -> None:
        async with SinkMx(tls=server_context(authority, "x.example")) as sink:
            await relay(sink, MemoryWork([transaction(1)]))
            assert [line.split()[0] for line in sink.heard[:4]] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]

    run(main)


def test_octets_behind_the_220_end_the_connection(authority: trustme.CA) -> None:
    """A reply that somebody smuggled in before TLS is not read as the server's (RFC 3207 §5)."""

    async def main() -> None:
        script = {"STARTTLS": b"220 go\r\n250 injected\r\n"}
        async with SinkMx(script, ("PIPELINING", "STARTTLS")) as sink:
            work = MemoryWork([transaction(1)])
            ending = await relay(sink, work)
            assert isinstance(ending, HostTrouble) and "behind" in ending.failure.reason
            assert not sink.lines("MAIL") and len(work.ready) == 1

    run(main)


def test_authority_file_that_is_missing_is_said(tmp_path: Path) -> None:
    """A wrong ca_file is our trouble: mail waits, the reason names the file."""

    async def main() -> None:
        async with SinkMx() as sink:
            ending = await relay(
                sink,
                MemoryWork([transaction(1)]),
                settings(sink.port, tls="required"),
                ca_file=str(tmp_path / "no.pem"),
            )
            assert isinstance(ending, HostTrouble) and "no.pem" in ending.failure.reason

    run(main)


# AUTH.


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ("PLAIN LOGIN SCRAM-SHA-256", "SCRAM-SHA-256"),
        ("LOGIN PLAIN", "PLAIN"),
        ("LOGIN", "LOGIN"),
        ("DIGEST-MD5 XOAUTH2", None),
        ("", None),
    ],
)
def test_log_in_by_the_best_mechanism(offered: str, expected: str | None) -> None:
    """SCRAM before PLAIN before LOGIN; without one that we know no mail is sent, and it is said."""

    async def main() -> None:
        extensions = ("PIPELINING", *([f"AUTH {offered}"] if offered else []))
        log: list[str] = []
        async with SinkMx(extensions=extensions, users={"us,er=1": PASSWORD}) as sink:
            work = MemoryWork([transaction(1)])
            ending = await relay(sink, work, settings(sink.port, username="us,er=1"), log=log)
            if expected is None:
                assert isinstance(ending, HostTrouble) and "log-in" in ending.failure.reason
                assert len(work.ready) == 1 and log
            else:
                assert [taken.user for taken in sink.taken] == ["us,er=1"]
                assert sink.lines("AUTH")[0].split()[1] == expected

    run(main)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
def test_wrong_password_is_our_trouble(mechanism: str) -> None:
    """535 never bounces anything; the password is in no log line and no reason."""

    async def main() -> None:
        log: list[str] = []
        async with SinkMx(extensions=(f"AUTH {mechanism}",), users={"user": "other"}) as sink:
            work = MemoryWork([transaction(1)])
            ending = await relay(sink, work, settings(sink.port, username="user"), log=log)
            assert isinstance(ending, HostTrouble)
            assert ending.failure.kind is NotNow.HOST and str(ending.failure.status) == "4.7.8"
            assert PASSWORD not in repr(ending) + "".join(log) and "535" in "".join(log)
            assert not work.settled and len(work.ready) == 1

    run(main)


def test_server_that_says_235_at_once_has_proved_nothing() -> None:
    """SCRAM is mutual: somebody in the middle who accepts anything is not our server."""

    async def main() -> None:
        async with SinkMx(extensions=("AUTH SCRAM-SHA-256",)) as sink:

            async def lie(self: Any, text: str) -> None:
                await self.say("AUTH", b"235 2.7.0 come in\r\n")

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sink_mx._Conversation, "on_auth", lie)
                ending = await relay(sink, MemoryWork([transaction(1)]), settings(sink.port, username="user"))
            assert isinstance(ending, HostTrouble) and not sink.lines("MAIL")

    run(main)


def test_password_that_cannot_be_read_is_said() -> None:
    """A missing password file: mail waits, and the log says which."""

    async def main() -> None:
        def missing() -> str:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")

        log: list[str] = []
        async with SinkMx() as sink:
            ending = await relay(
                sink,
                MemoryWork([transaction(1)]),
                settings(sink.port, username="user"),
                password=missing,
                log=log,
            )
            assert isinstance(ending, HostTrouble) and "password" in log[0]
            assert sink.connections == 0

    run(main)


# Hosts.


def test_no_smtp_host_is_said_loudly() -> None:
    """Mail for the Internet waits; nothing is bounced."""

    async def main() -> None:
        log: list[str] = []
        work = MemoryWork([transaction(1)])
        ending = await agent(settings(25, host=""), log=log).run("relay", work)
        assert isinstance(ending, HostTrouble) and "no SMTP host is set" in ending.failure.reason
        assert "no SMTP host is set" in log[0] and len(work.ready) == 1

    run(main)


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (None, NotNow.HOST),
        (NXDOMAIN, NotNow.HOST),
        (SERVFAIL, NotNow.HOST),
        (UNREACHABLE, NotNow.OFFLINE),
        ([], NotNow.HOST),
    ],
    ids=["unknown", "NXDOMAIN", "SERVFAIL", "no resolver", "no address"],
)
def test_upstream_host_that_is_not_found_bounces_nothing(found: Any, kind: NotNow) -> None:
    """Whatever the DNS says of a host that the settings name, it is our trouble."""

    async def main() -> None:
        resolver = FakeResolver(hosts={"smtp.example.net": found} if found is not None else {})
        work = MemoryWork([transaction(1)])
        ending = await agent(settings(25, host="smtp.example.net"), resolver).run("relay", work)
        assert isinstance(ending, HostTrouble) and ending.failure.kind is kind and ending.is_unfound
        assert len(work.ready) == 1

    run(main)


def test_fallback_host_that_is_not_found_changes_nothing() -> None:
    """Of two troubles theirs is the one that counts."""

    async def main() -> None:
        resolver = FakeResolver({"example.net": SERVFAIL}, {"smtp.example.net": SERVFAIL})
        smtp = settings(25, host="smtp.example.net", fallback_to_host=True)
        ending = await agent(smtp, resolver).run("mx:example.net", MemoryWork([transaction(1)]))
        assert isinstance(ending, HostTrouble) and not ending.is_unfound
        assert "smtp.example.net" not in ending.failure.reason

    run(main)


def mx_resolver(**hosts: Sequence[str]) -> FakeResolver:
    table = [(10 * (n + 1), name) for n, name in enumerate(hosts)]
    return FakeResolver(mx_table={"example.net": table}, hosts=dict(hosts))


@pytest.mark.parametrize(
    ("script", "expected", "hosts_tried"),
    [
        ({"connect@0": b"554 no\r\n"}, "d", 2),
        ({"connect@0": b"421 busy\r\n"}, "d", 2),
        ({"EHLO@0": b"421 busy\r\n"}, "d", 2),
        ({"EHLO@0": b"550 no\r\n", "HELO@0": b"550 no\r\n"}, "d", 2),
        ({"EHLO@0": CLOSE}, "d", 2),
        ({"MAIL@0": b"421 busy\r\n"}, "d", 2),
        ({"MAIL@0": b"550 no\r\n"}, "p", 1),
        ({"RCPT@0": b"550 no\r\n"}, "p", 1),
        ({"content@0": b"550 no\r\n"}, "p", 1),
        ({"content@0": b"450 no\r\n"}, "t", 1),
        ({"MAIL@0": b"530 5.7.0 no\r\n"}, "p", 1),
    ],
)  # fmt: skip
def test_next_host_is_tried_before_mail_and_not_after(
    script: Mapping[str, Reaction], expected: str, hosts_tried: int
) -> None:
    """Trouble before MAIL goes on to the next MX; a refusal of the message does not."""

    async def main() -> None:
        async with SinkMx(script) as sink:
            resolver = mx_resolver(**{"mx1.example.net": ["127.0.0.1"], "mx2.example.net": ["127.0.0.1"]})
            work = MemoryWork([transaction(1)], keeps_put_back=True)
            await agent(settings(sink.port), resolver).run("mx:example.net", work)
            work.check()
            assert (ends(work), sink.connections) == (expected, hosts_tried)

    run(main)


def test_refused_connection_goes_on_to_the_next_address() -> None:
    """Addresses of one host, then the next host; the relay that took it is named."""

    async def main() -> None:
        async with SinkMx() as sink:
            resolver = mx_resolver(
                **{
                    "mx1.example.net": ["127.0.0.2", "127.0.0.3"],
                    "mx2.example.net": ["127.0.0.4", "127.0.0.1"],
                }
            )
            work = MemoryWork([transaction(1)])
            await agent(settings(sink.port), resolver).run("mx:example.net", work)
            outcome = work.settled[1][0]
            assert isinstance(outcome, Delivered)
            assert outcome.relay == f"mx2.example.net[127.0.0.1]:{sink.port}"

    run(main)


def test_host_that_did_not_answer_is_tried_last_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead first MX costs one time-out, not one a connection."""

    async def main() -> None:
        async with SinkMx() as sink:
            resolver = mx_resolver(**{"mx1.example.net": ["127.0.0.2"], "mx2.example.net": ["127.0.0.1"]})
            smtp = agent(settings(sink.port), resolver)
            loop = asyncio.get_running_loop()
            tried: list[str] = []
            connect = loop.create_connection

            async def noting(factory: Any, host: str, *rest: Any, **options: Any) -> Any:
                tried.append(host)
                return await connect(factory, host, *rest, **options)

            monkeypatch.setattr(loop, "create_connection", noting)
            for number in range(3):
                await smtp.run("mx:example.net", MemoryWork([transaction(number)]))
            assert tried == ["127.0.0.2", "127.0.0.1", "127.0.0.1", "127.0.0.1"]

    run(main)


@pytest.mark.parametrize(
    ("mx", "hosts", "ending", "kind_or_status"),
    [
        ({}, {}, RouteRefusal, "5.1.2"),
        ({"example.net": [(0, "")]}, {}, RouteRefusal, "5.1.10"),
        ({}, {"example.net": []}, RouteRefusal, "5.1.2"),
        ({"example.net": SERVFAIL}, {}, HostTrouble, NotNow.HOST),
        ({"example.net": UNREACHABLE}, {}, HostTrouble, NotNow.OFFLINE),
        ({"example.net": [(5, "mx.example.net")]}, {}, HostTrouble, NotNow.HOST),
        ({"example.net": [(5, "mx.example.net")]}, {"mx.example.net": SERVFAIL}, HostTrouble, NotNow.HOST),
        ({"example.net": [(5, "mail.example.org")]}, {}, HostTrouble, NotNow.HOST),
        ({"example.net": [(5, "mx.example.net")]}, {"mx.example.net": ["127.0.0.9"]}, HostTrouble, NotNow.HOST),
    ],
    ids=["NXDOMAIN", "null MX", "no address", "SERVFAIL", "no resolver", "MX unknown", "MX SERVFAIL",
         "we are the MX by name", "we are the MX by address"],
)  # fmt: skip
def test_domain_without_a_host(mx: Any, hosts: Any, ending: type, kind_or_status: object) -> None:
    """What can never be is refused; what may pass waits."""

    async def main() -> None:
        work = MemoryWork([transaction(1)])
        end = await agent(
            settings(25, fallback_to_host=False),
            FakeResolver(mx, hosts),
            is_own_address=lambda address, port: str(address) == "127.0.0.9",
        ).run("mx:example.net", work)
        assert type(end) is ending
        if isinstance(end, RouteRefusal):
            assert str(end.failure.status) == kind_or_status
        else:
            assert isinstance(end, HostTrouble) and end.failure.kind is kind_or_status
        assert len(work.ready) == 1

    run(main)


def test_nxdomain_while_the_link_is_down_is_no_refusal() -> None:
    """A captive portal or a dead line may say it of everybody."""

    async def main() -> None:
        ending = await agent(settings(25), FakeResolver(), is_offline=lambda: True).run(
            "mx:example.net", MemoryWork([transaction(1)])
        )
        assert isinstance(ending, HostTrouble) and ending.failure.kind is NotNow.OFFLINE

    run(main)


def test_implicit_mx_and_literals() -> None:
    """A domain without MX is its own host; [127.0.0.1] needs no DNS."""

    async def main() -> None:
        async with SinkMx() as sink:
            resolver = FakeResolver(hosts={"example.net": ["127.0.0.1"]})
            work = MemoryWork([transaction(1)])
            await agent(settings(sink.port), resolver).run("mx:example.net", work)
            assert ends(work) == "d"
            work = MemoryWork([transaction(2)])
            resolver.asked.clear()
            await agent(settings(sink.port), resolver).run("mx:[127.0.0.1]", work)
            assert ends(work, 2) == "d" and not resolver.asked

    run(main)


def test_hosts_behind_our_own_are_not_tried() -> None:
    """RFC 5321 §5.1: ourselves, what is equal and what is behind is cut; what is before is tried."""

    async def main() -> None:
        async with SinkMx() as sink:
            table = [
                (10, "mx1.example.net"),
                (20, "mail.example.org"),
                (20, "mx2.example.net"),
                (30, "mx3.example.net"),
            ]
            hosts = {
                "mx1.example.net": ["127.0.0.5"],
                "mx2.example.net": ["127.0.0.1"],
                "mx3.example.net": ["127.0.0.1"],
            }
            work = MemoryWork([transaction(1)])
            smtp = settings(sink.port, fallback_to_host=False)
            ending = await agent(smtp, FakeResolver({"example.net": table}, hosts)).run(
                "mx:example.net", work
            )
            assert isinstance(ending, HostTrouble) and sink.connections == 0

    run(main)


@pytest.mark.parametrize(
    ("mx", "hosts", "falls_back"),
    [
        ([(5, "mx.example.net")], {"mx.example.net": ["127.0.0.5"]}, True),
        (SERVFAIL, {}, True),
        (UNREACHABLE, {}, True),
        ([(5, "mx.example.net")], {"mx.example.net": SERVFAIL}, True),
        ([(0, "")], {}, False),
        (None, {}, False),
        ([(5, "mail.example.org")], {}, False),
    ],
    ids=["refused connection", "SERVFAIL", "no resolver", "MX SERVFAIL", "null MX", "NXDOMAIN", "loop"],
)
def test_fallback_to_the_smtp_host(mx: Any, hosts: Any, falls_back: bool) -> None:
    """Only when no mail host could be reached or found for now."""

    async def main() -> None:
        async with SinkMx() as sink:
            resolver = FakeResolver({"example.net": mx} if mx is not None else {}, hosts)
            for is_on in (True, False):
                work = MemoryWork([transaction(1)])
                smtp = settings(sink.port, fallback_to_host=is_on)
                await agent(smtp, resolver).run("mx:example.net", work)
                assert (ends(work) == "d") == (falls_back and is_on)

    run(main)


def test_answer_that_is_a_refusal_does_not_fall_back() -> None:
    """A mail host that says 554 has answered: the upstream host is not asked to go round it."""

    async def main() -> None:
        async with (
            SinkMx() as upstream,
            SinkMx({"connect": b"554 no\r\n"}, host="127.0.0.6", port=upstream.port),
        ):
            resolver = mx_resolver(**{"mx.example.net": ["127.0.0.6"]})
            work = MemoryWork([transaction(1)])
            ending = await agent(settings(upstream.port), resolver).run("mx:example.net", work)
            assert isinstance(ending, HostTrouble) and upstream.connections == 0

    run(main)


def test_log_in_and_strict_tls_are_for_the_upstream_host_alone(authority: trustme.CA) -> None:
    """Our password is not offered to an MX, and its certificate need not be good."""

    async def main() -> None:
        tls = server_context(authority, "else.example")
        async with SinkMx(extensions=("AUTH PLAIN",), tls=tls) as sink:
            resolver = mx_resolver(**{"mx.example.net": ["127.0.0.1"]})
            work = MemoryWork([transaction(1)])
            smtp = settings(sink.port, tls="required", username="user")
            await agent(smtp, resolver, patience=0.02).run("mx:example.net", work)
            assert ends(work) == "d" and not sink.lines("AUTH") and sink.taken[0].is_encrypted

    run(main)


@pytest.mark.parametrize(
    ("number", "address", "kind"),
    [
        (errno.ENETUNREACH, "192.0.2.1", NotNow.OFFLINE),
        (errno.EHOSTUNREACH, "192.0.2.1", NotNow.OFFLINE),
        (errno.ENETDOWN, "192.0.2.1", NotNow.OFFLINE),
        (errno.ECONNREFUSED, "192.0.2.1", NotNow.HOST),
        (errno.ETIMEDOUT, "192.0.2.1", NotNow.HOST),
        (errno.ENETUNREACH, "127.0.0.1", NotNow.HOST),
    ],
)
def test_no_way_there_is_our_line_and_not_their_host(
    monkeypatch: pytest.MonkeyPatch, number: int, address: str, kind: NotNow
) -> None:
    """What the kernel says of the way decides whether an attempt is counted."""

    async def main() -> None:
        async def fail(*args: object, **options: object) -> None:
            raise OSError(number, "no")

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", fail)
        ending = await agent(settings(25, host=address)).run("relay", MemoryWork([transaction(1)]))
        assert isinstance(ending, HostTrouble) and ending.failure.kind is kind

    run(main)


def test_connection_that_is_not_answered_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """smtp.advanced.timeout holds for the opening of the connection."""

    async def main() -> None:
        async def hang(*args: object, **options: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", hang)
        smtp = settings(25)
        smtp = replace(smtp, advanced=replace(smtp.advanced, timeout=timedelta(milliseconds=50)))
        start = time.monotonic()
        ending = await agent(smtp).run("relay", MemoryWork([transaction(1)]))
        assert isinstance(ending, HostTrouble) and ending.failure.kind is NotNow.HOST
        assert time.monotonic() - start < 20, "thirty seconds are the default"

    run(main)


def test_mistake_of_ours_delays_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in this program is logged once; nothing is settled as failed."""

    async def main() -> None:
        log: list[str] = []
        work = MemoryWork([transaction(1)])
        resolver = FakeResolver()
        monkeypatch.setattr(resolver, "addresses", None)
        ending = await agent(settings(25, host="smtp.example.net"), resolver, log).run("relay", work)
        assert isinstance(ending, HostTrouble) and "Traceback" in log[0]
        assert not work.settled

    run(main)


def test_uvloop_relays_as_asyncio_does(authority: trustme.CA) -> None:
    """The loop of the product, with STARTTLS, chunks and a kept connection."""
    import uvloop

    async def main() -> None:
        tls = server_context(authority, "x.example")
        async with SinkMx(extensions=CHUNKED, tls=tls) as sink:
            work = MemoryWork([transaction(n) for n in range(30)])
            assert await relay(sink, work, patience=0.05) == Finished(30)
            assert len(sink.taken) == 30 and all(taken.is_encrypted for taken in sink.taken)

    uvloop.run(main())


def test_update_holds_from_the_next_connection_on() -> None:
    """New settings need no new agent."""

    async def main() -> None:
        async with SinkMx() as first, SinkMx() as second:
            smtp = agent(settings(first.port))
            work = MemoryWork([transaction(1)])
            await smtp.run("relay", work)
            smtp.update(settings(second.port), "new.example.org", lambda: "", "")
            work.add(transaction(2))
            await smtp.run("relay", work)
            assert (len(first.taken), len(second.taken)) == (1, 1)
            assert second.heard[0] == "EHLO new.example.org"

    run(main)


EARLY = ("PIPELINING", "8BITMIME", "CHUNKING", "PIPECONNECT")


@pytest.mark.parametrize("is_tls", [False, True], ids=["clear", "STARTTLS"])
def test_second_connection_over_a_thin_link_does_not_wait_for_the_greeting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_tls: bool
) -> None:
    """What the host offered is remembered: EHLO, STARTTLS and the log-in go out ahead of their turn."""
    monkeypatch.setattr(SmtpAgent, "_fit", lambda *_: Fit(256))
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)

    async def main() -> None:
        offered = [*EARLY, *(["AUTH PLAIN"] if is_tls else [])]
        async with SinkMx(
            extensions=offered, tls=context if is_tls else None, users={"ann": PASSWORD}
        ) as sink:
            options: dict[str, Any] = {"tls": "required", "username": "ann"} if is_tls else {"tls": "none"}
            sender = agent(settings(sink.port, idle_ms=0, **options), ca_file=str(tmp_path / "ca.pem"))
            for number in range(3):
                work = MemoryWork([transaction(number)])
                ending = await asyncio.wait_for(sender.run("relay", work), 60)
                work.check()
                assert type(ending) is Finished and ends(work, number) == "d"
            assert len(sink.taken) == 3 and sink.connections == 3
            if is_tls:
                assert all(taken.is_encrypted and taken.user == "ann" for taken in sink.taken)
            [known] = sender._known._known.values()
            assert known.is_early and known.has_starttls == is_tls

    run(main)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param({"connect@1": b"554 5.5.0 you speak too soon\r\n"}, id="refused"),
        pytest.param({"connect@1": CLOSE}, id="hangs up"),
        pytest.param({"EHLO@1": b"503 5.5.1 greet first\r\n"}, id="EHLO refused"),
        pytest.param({"EHLO@1": b"250 other\r\n"}, id="another host"),
        pytest.param({"EHLO@1": RESET}, id="resets"),
    ],
)
def test_host_that_is_not_as_it_was_gets_the_mail_in_the_usual_order(
    monkeypatch: pytest.MonkeyPatch, script: Mapping[str, Reaction]
) -> None:
    """Nothing is lost, and no attempt is counted, when what was remembered does not hold any more."""
    monkeypatch.setattr(SmtpAgent, "_fit", lambda *_: Fit(256))

    async def main() -> None:
        async with SinkMx(script, EARLY) as sink:
            sender = agent(settings(sink.port, idle_ms=0))
            for number in range(2):
                work = MemoryWork([transaction(number)])
                ending = await asyncio.wait_for(sender.run("relay", work), 60)
                work.check()
                assert type(ending) is Finished and ends(work, number) == "d" and not work.put_backs
            assert len(sink.taken) == 2

    run(main)
