"""LmtpAgent against a scripted LMTP server, on a socket in a folder and on TCP."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from cmail.delivery.agent import Finished, HostTrouble
from cmail.delivery.line import SessionLimits
from cmail.delivery.lmtp import LmtpAgent, parse_lmtp
from cmail.delivery.settings import LocalSettings
from cmail.mail.outcome import Delivered, NotNow, PermanentFailure, TemporaryFailure
from cmail.net.clock import RealClock
from tests.support.fake_dns import FakeResolver
from tests.support.memory_work import MemoryWork, transaction
from tests.support.sink_mx import CLOSE, HANG, Reaction, SinkMx

THREE = ("a@example.org", "b@example.org", "c@example.org")


def agent(lmtp: str, log: list[str] | None = None, patience: float = 0.1) -> LmtpAgent:
    return LmtpAgent(
        LocalSettings(delivery="lmtp", lmtp=lmtp),
        "mail.example.org",
        RealClock(),
        FakeResolver(hosts={"imap.example.org": ["127.0.0.1"]}),
        log=log.append if log is not None else None,
        limits=SessionLimits(idle_s=0.02, patience=patience),
    )


def letters(work: MemoryWork) -> str:
    kinds = {Delivered: "d", TemporaryFailure: "t", PermanentFailure: "p"}
    return "".join(kinds[type(work.settled[1][i])] for i in sorted(work.settled.get(1, {})))  # type: ignore[index]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({}, "ddd"),
        ({"RCPT:b@example.org": b"550 5.1.1 who?\r\n"}, "dpd"),
        ({"RCPT": b"550 5.1.1 who?\r\n"}, "ppp"),
        ({"RCPT": b"550 5.1.1 who?\r\n", "DATA": b"354 go\r\n"}, "ppp"),
        ({"content:b@example.org": b"452 4.2.2 full\r\n"}, "dtd"),
        ({"content:b@example.org": b"552 5.2.2 full\r\n", "content:c@example.org": b"451 x\r\n"}, "dpt"),
        ({"RCPT:a@example.org": b"450 later\r\n", "content:c@example.org": b"550 no\r\n"}, "tdp"),
        ({"content:b@example.org": CLOSE}, "dtt"),
        ({"content:b@example.org": HANG}, "dtt"),
        ({"content:b@example.org": b"mumble\r\n"}, "dtt"),
        ({"content:b@example.org": b"421 bye\r\n"}, "dtt"),
    ],
)
@pytest.mark.parametrize("extensions", [("PIPELINING",), (), ("PIPELINING", "CHUNKING")])
def test_each_recipient_has_its_own_end(
    script: Mapping[str, Reaction], expected: str, extensions: tuple[str, ...], tmp_path: Path
) -> None:
    """RFC 2033 §4.2: one reply for each recipient that was accepted, in their order."""
    path = str(tmp_path / "lmtp")

    async def main() -> None:
        async with SinkMx(script, extensions, is_lmtp=True, unix_path=path) as sink:
            work = MemoryWork([transaction(1, THREE, route="lmtp")])
            patience = 0.002 if HANG in script.values() else 0.1
            await asyncio.wait_for(agent(f"unix:{path}", patience=patience).run("lmtp", work), 60)
            work.check()
            assert letters(work) == expected
            assert sink.heard[0] == "LHLO mail.example.org"
            if "d" in expected:
                outcome = work.settled[1][expected.index("d")]
                assert isinstance(outcome, Delivered) and outcome.relay == f"localhost[{path}]"

    asyncio.run(main())


def test_many_messages_by_tcp() -> None:
    """A name and a port; one connection carries all."""

    async def main() -> None:
        async with SinkMx(is_lmtp=True) as sink:
            work = MemoryWork([transaction(n, THREE, route="lmtp") for n in range(20)])
            assert await agent(f"imap.example.org:{sink.port}").run("lmtp", work) == Finished(20)
            assert len(sink.taken) == 20 and sink.connections == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("lmtp", "words"),
    [
        ("", "neither unix:/path nor host:port"),
        ("unix:relative", "neither"),
        ("host:99999", "neither"),
        ("unix:/nonexistent/lmtp", "no such socket"),
        ("127.0.0.1:1", "connection refused"),
        ("gone.example.org:24", "does not exist"),
    ],
)
def test_lmtp_server_that_is_not_there_bounces_nothing(lmtp: str, words: str) -> None:
    """Settings or a server of ours: mail waits, and the log says what is wrong."""
    log: list[str] = []
    work = MemoryWork([transaction(1, THREE, route="lmtp")])
    ending = asyncio.run(agent(lmtp, log).run("lmtp", work))
    assert isinstance(ending, HostTrouble) and ending.failure.kind is NotNow.HOST
    assert words in ending.failure.reason and log and len(work.ready) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:/run/dovecot/lmtp", ("/run/dovecot/lmtp", "", 0)),
        ("127.0.0.1:24", ("", "127.0.0.1", 24)),
        ("[::1]:24", ("", "[::1]", 24)),
    ],
)
def test_lmtp_address_is_read(text: str, expected: tuple[str, str, int]) -> None:
    """Both forms of local.lmtp."""
    assert parse_lmtp(text) == expected
