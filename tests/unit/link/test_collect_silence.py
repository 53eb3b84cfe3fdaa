"""A line that dies without a word while mail is fetched: the link is told, and it is tried again when a probe gets
through; once, for it may be the server that is away."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cmail.link.collect import line
from cmail.link.probe import MAILBOXES_MAX, Target, mailbox_targets, probe_each
from tests.support.collecting import Office, pop3
from tests.support.fake_dns import FakeResolver
from tests.support.meddler import Meddler
from tests.support.scripted_imap import ScriptedImap
from tests.support.scripted_pop3 import ScriptedPop3
from tests.support.until import until

WAIT_S = 0.3  # in place of two minutes
HOUR = timedelta(hours=1)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """To its end."""
    asyncio.run(asyncio.wait_for(test(), 30))


async def begin(office: Office, told: list[str], port: int, **more: Any) -> None:
    """One account; who is told of silence."""
    office.collector = office.new_collector(lambda: told.append("silent"))
    office.collector.apply([pop3(port, every=HOUR, **more)], office.terms)
    await office.collector.start(is_online=True)


def test_silence_is_told_and_tried_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer: the link hears of it. A probe that gets through has it tried at once; when that fails too, the
    next one waits as long as it did."""
    monkeypatch.setattr(line, "ANSWER_S", WAIT_S)
    monkeypatch.setattr(line.Line.next, "__defaults__", (WAIT_S,))

    async def test() -> None:
        office, told = Office(tmp_path), list[str]()
        async with ScriptedPop3([]) as good, Meddler(good.port, b"CAPA") as silent:
            await begin(office, told, silent.port)
            await until(lambda: len(told) == 1)
            await asyncio.sleep(0)
            assert silent.sessions == 1
            office.collector.line_answers()
            await until(lambda: len(told) == 2)
            office.collector.line_answers()
            await asyncio.sleep(WAIT_S)
            assert silent.sessions == 2
            await office.collector.stop()

    run(test)


def test_who_answers_that_he_will_not_is_not_silent(tmp_path: Path) -> None:
    """A connection that is refused, and a server that hangs up, say nothing of the line."""

    async def test() -> None:
        for name, port_of in (("refused", lambda _: 1), ("ends", lambda found: found.port)):
            office, told = Office(tmp_path / name), list[str]()
            office.folder.mkdir()
            async with ScriptedPop3([]) as good, Meddler(good.port, b"CAPA", b"", ends=True) as other:
                await begin(office, told, port_of(other))
                await until(lambda office=office: office.log.events)  # type: ignore[misc]
                assert not told
                office.collector.line_answers()
                await asyncio.sleep(0.1)
                assert other.sessions <= 1
                await office.collector.stop()

    run(test)


def test_a_session_that_only_listens_is_watched_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket has what makes the kernel notice a dead line in two minutes at most."""
    made: list[dict[int, int]] = []
    whole = line.connect

    async def connect(*arguments: Any) -> line.Line:
        found = await whole(*arguments)
        sock = found.socket()
        assert sock is not None
        made.append({option: sock.getsockopt(level, option) for level, option, _ in line.KEEPALIVE})
        return found

    monkeypatch.setattr("cmail.link.collect.imap.connect", connect)

    async def test() -> None:
        office, told = Office(tmp_path), list[str]()
        async with ScriptedImap({}, capabilities="IMAP4rev1 UIDPLUS IDLE") as server:
            await begin(office, told, server.port, protocol="imap", idle=True)
            await until(lambda: made)
            assert made[0] == {option: value for _, option, value in line.KEEPALIVE}
            idle, interval, count = (value for _, _, value in line.KEEPALIVE[1:4])
            assert idle + interval * count <= 120
            await office.collector.stop()

    run(test)


def test_who_only_fetches_probes_the_servers_that_he_fetches_from() -> None:
    """Each once, none of this machine, a few at most."""
    accounts = [
        pop3(995, name="a", host="pop.isp.example", tls="implicit"),
        pop3(995, name="b", host="pop.isp.example", tls="implicit"),
        pop3(0, name="c", protocol="imap", host="imap.isp.example", tls="required"),
        pop3(0, name="d", host="127.0.0.1"),
        pop3(0, name="e", host="localhost"),
    ]
    assert mailbox_targets(accounts, "/ca") == [
        Target("pop.isp.example", 995, "implicit", "/ca"),
        Target("imap.isp.example", 143, "none", "/ca"),
    ]
    many = [pop3(110, name=str(n), host=f"pop{n}.example") for n in range(9)]
    assert len(mailbox_targets(many, "")) == MAILBOXES_MAX


def test_one_server_that_answers_is_enough() -> None:
    """Of several that are probed; when none does, one that failed says more than one that does not exist."""

    async def test() -> None:
        resolver = FakeResolver(hosts={"there.example": ["127.0.0.1"], "dark.example": []})
        async with ScriptedPop3([]) as good:
            gone, there = Target("gone.example", 110), Target("there.example", good.port)
            target, seen = await probe_each([gone, there], resolver, ())
            assert target is there and seen.is_answered
        target, seen = await probe_each([gone], resolver, ())
        assert target is gone and not seen.is_answered

    run(test)
