"""Mailboxes elsewhere whose servers hang at each step, talk for ever, drip and lie: bounded, said in words, others
unaffected; when they are right again each message has come once."""

import asyncio
import resource
import tracemalloc
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.link.collect import imap as imap_box
from cmail.link.collect import line, parts, watch
from cmail.link.collect import pop3 as pop3_box
from cmail.net.control import ControlError
from cmail.protocol.imap_client import FOUND_MAX, ImapClient
from cmail.protocol.imap_client_data import ImapError
from cmail.protocol.pop3_client import LISTING_LINES_MAX, Kind, Pop3Client, Pop3Error
from tests.support.collecting import Office, pop3
from tests.support.mailboxes_elsewhere import message
from tests.support.meddler import Meddler
from tests.support.scripted_imap import ScriptedImap
from tests.support.scripted_pop3 import ScriptedPop3
from tests.support.until import until

POP3: Final = [("a", message(1)), ("b", message(2, 20_000)), ("c", message(3))]
IMAP: Final = {1: message(1), 2: message(2, 20_000), 5: message(3)}
RSS_KB_MAX: Final = 200 * 1024  # growth by any of them, machines and test together
WAIT_S: Final = 0.4  # in place of two minutes
SLOW_S: Final = 20.0  # where it is much that ends it, not time: on a machine that is busy too


@dataclass(frozen=True)
class Bad:
    """What the server does at a command, and the words for it."""

    protocol: str
    at: bytes
    head: bytes = b""
    piece: bytes = b""
    every_s: float = 0.0
    words: str = "did not answer within"


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """To its end."""
    asyncio.run(asyncio.wait_for(test(), 60))


_NO_END = "does not come to an end"
BAD: Final[dict[str, Bad]] = {
    **{f"POP3 hangs at {at}": Bad("pop3", at.encode()) for at in ("", "CAPA", "USER", "PASS", "LIST", "UIDL", "RETR", "DELE", "QUIT")},
    **{f"IMAP hangs at {at}": Bad("imap", at.encode()) for at in ("", "CAPABILITY", "LOGIN", "SELECT", "SEARCH", "SIZE)", "BODY", "STORE", "UID EXPUNGE")},
    "POP3: a greeting without an end": Bad("pop3", b"", b"+OK ", b"x" * 9000, words="longer than any answer"),
    "POP3: a list without an end": Bad("pop3", b"LIST", b"+OK\r\n", b"1 2\r\n" * 9000, words="list has no end"),
    "POP3: a list of nothing": Bad("pop3", b"LIST", b"+OK\r\n", b"\r\n" * 30_000, words="list has no end"),
    "POP3: names without an end": Bad("pop3", b"UIDL", b"+OK\r\n", b"x" * 60_000, words="list has no end"),
    "POP3: capabilities without an end": Bad("pop3", b"CAPA", b"+OK\r\n", b"A\r\n" * 30_000, words="list has no end"),
    "POP3: content without an end": Bad("pop3", b"RETR", b"+OK\r\n", b"x" * 60_000, words="larger than"),
    "POP3: content, an octet at a time": Bad("pop3", b"RETR", b"+OK\r\n", b"x", 0.1, "too slow"),
    "POP3: a status, an octet at a time": Bad("pop3", b"LIST", b"+OK ", b"x", 0.1),
    "POP3: a list, a line at a time": Bad("pop3", b"LIST", b"+OK\r\n", b"1 2\r\n", 0.1),
    "POP3: answers that nobody asked for": Bad("pop3", b"DELE", b"", b"+OK\r\n", words="what nobody asked"),
    "POP3: a last word": Bad("pop3", b"LIST", b"+OK\r\n1 9\r\n.\r\n-ERR [SYS/TEMP] disk\r\n", words="ended the session: [SYS/TEMP] disk"),
    "POP3: a negative size": Bad("pop3", b"LIST", b"+OK\r\n1 -5\r\n.\r\n", words="its list of sizes"),
    "POP3: a number of many digits": Bad("pop3", b"LIST", b"+OK\r\n1 " + b"9" * 5000 + b"\r\n.\r\n", words="its list of sizes"),
    "POP3: a name without a message": Bad("pop3", b"UIDL", b"+OK\r\nx a\x1bb\r\n.\r\n", words="its list of unique-ids"),
    "POP3: a NUL": Bad("pop3", b"PASS", b"+OK \0\r\n", words="what nobody asked"),
    "POP3: TLS that nobody wanted": Bad("pop3", b"", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n" * 9, words="what nobody asked"),
    "IMAP: a line without an end": Bad("imap", b"SEARCH", b"* SEARCH ", b"7 " * 30_000, words="line without an end"),
    "IMAP: more numbers than there can be": Bad(
        "imap", b"SEARCH", b"* SEARCH" + b" 1" * (FOUND_MAX + 2) + b"\r\n", words="found more than"
    ),
    "IMAP: untagged without an end": Bad("imap", b"SEARCH", b"", b"* 1 EXISTS\r\n" * 5000, words=_NO_END),
    "IMAP: untagged of much": Bad("imap", b"SEARCH", b"", b"* FLAGS (" + b"a " * 30_000 + b")\r\n", words=_NO_END),
    "IMAP: untagged, one at a time": Bad("imap", b"SEARCH", b"", b"* 1 EXISTS\r\n", 0.1, "end of an answer"),
    "IMAP: capabilities of much": Bad("imap", b"CAPABILITY", b"* CAPABILITY " + b"a " * 60_000 + b"\r\n", words="anybody asked"),
    "IMAP: one word of much": Bad("imap", b"CAPABILITY", b"* CAPABILITY " + b"a" * 200_000 + b"\r\n", words="anybody asked"),
    "IMAP: a huge literal": Bad("imap", b"SELECT", b"* LIST () {99999999}\r\n", words="a few are enough"),
    "IMAP: many literals": Bad("imap", b"SELECT", b"* LIST (", b"{1}\r\nx " * 5000, words="a few are enough"),
    "IMAP: a literal of less than nothing": Bad("imap", b"BODY", b"* 1 FETCH (BODY[] {-5}\r\nTAG OK\r\n", words="a literal where"),
    "IMAP: content of a million gigabytes": Bad("imap", b"BODY", b"* 1 FETCH (UID 1 BODY[] {99999999999999}\r\n", words="says that a message has"),
    "IMAP: content without an end": Bad("imap", b"BODY", b"* 1 FETCH (UID 1 BODY[] {99999999999}\r\n", b"x" * 60_000, words="larger than"),
    "IMAP: content, an octet at a time": Bad("imap", b"BODY", b"* 1 FETCH (UID 1 BODY[] {999}\r\n", b"x", 0.1, "too slow"),
    "IMAP: other things in place of content": Bad("imap", b"BODY", b"", b"* 1 EXISTS\r\n" * 5000, words=""),
    "IMAP: content twice": Bad(
        "imap", b"BODY", b"* 1 FETCH (UID 1 BODY[] {1}\r\na)\r\n* 1 FETCH (UID 1 BODY[] {1}\r\nb)\r\nTAG OK\r\n", words="two messages for one"
    ),
    "IMAP: a UIDVALIDITY of other digits": Bad("imap", b"SELECT", "* OK [UIDVALIDITY ²] x\r\nTAG OK\r\n".encode(), words="UIDVALIDITY"),
    "IMAP: BYE in the middle": Bad("imap", b"BODY", b"* BYE too busy\r\n", words="ended the session: too busy"),
    "IMAP: an octet at a time": Bad("imap", b"SEARCH", b"* SEARCH ", b"7", 0.1),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_it_is_bounded_said_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The session ends with words, in little memory; another mailbox is collected meanwhile; afterwards each message
    has come once and nothing is left over."""
    bad = BAD[what]
    wait_s = SLOW_S if bad.piece and bad.words and not bad.every_s else WAIT_S
    monkeypatch.setattr(line, "ANSWER_S", wait_s)
    monkeypatch.setattr(pop3_box, "ANSWER_S", wait_s)
    monkeypatch.setattr(line, "ALL_PARTS_S", 3 * wait_s)
    monkeypatch.setattr(line.Line.next, "__defaults__", (wait_s,))

    async def test() -> None:
        office = Office(tmp_path, size_max=2**20)
        good = ScriptedPop3(list(POP3)) if bad.protocol == "pop3" else ScriptedImap(dict(IMAP))
        async with good, ScriptedPop3([("x", message(9))]) as other:
            async with Meddler(good.port, bad.at, bad.head, bad.piece, bad.every_s) as meddler:
                accounts = [
                    pop3(meddler.port, protocol=bad.protocol),
                    pop3(other.port, name="other", username="bert", to="bert@example.org"),
                ]
                before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                [result, of_other] = await office.collect(*accounts)
                grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
                assert grown_kb < RSS_KB_MAX
                if "QUIT" not in what:
                    assert not result.is_ok and bad.words in result.tell(), result.tell()
                assert of_other.is_ok and of_other.fetched == 1
                assert result.tell().isprintable() and "secret" not in str(office.log.events)
                assert not [each for each in office.log.events if "an error of ours" in str(each)]
                meddler.is_on = False
                results = await office.collect(*accounts)
                left_there = await _left(office, *accounts)
                assert all(each.is_ok for each in results), [each.tell() for each in results]
        mine = [content for to, content in office.taken if to == ("anna@example.org",)]
        assert len(set(mine)) == len(mine), "twice"
        assert len(mine) + left_there == 3, "lost"
        assert not office.left_over()

    run(test)


async def _left(office: Office, *accounts: Any) -> int:
    """How many stay at the server, and are said to."""
    await office.begin(*accounts)
    rows = (await office.collector.answers()["collect.list"]({}))["messages"]  # type: ignore[index]
    await office.collector.stop()
    return len([row for row in rows if row["words"]])


def test_who_talks_while_it_is_to_be_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IDLE: a flood of what is no mail ends the session with words, and so does an answer to DONE without an end."""

    async def test() -> None:
        for head, piece, idle_s, words in (
            (b"", b"* OK still here\r\n" * 5000, 50.0, "talks without end"),
            (b"+ go\r\n", b"* 1 RECENT\r\n" * 5000, 0.2, _NO_END),
        ):
            monkeypatch.setattr(imap_box, "IDLE_S", idle_s)
            office = Office(tmp_path / str(len(head)))
            office.folder.mkdir()
            async with (
                ScriptedImap({}, capabilities="IMAP4rev1 UIDPLUS IDLE") as good,
                Meddler(good.port, b"IDLE", head, piece) as meddler,
            ):
                office.collector = office.new_collector()
                office.collector.apply([pop3(meddler.port, protocol="imap", idle=True)], office.terms)
                await office.collector.start(is_online=True)
                await until(lambda office=office, words=words: words in str(office.log.events))  # type: ignore[misc]
                assert meddler.sessions == 1
                await office.collector.stop()

    run(test)


def test_who_hangs_up_as_soon_as_it_is_listened_to(tmp_path: Path) -> None:
    """IDLE that ends at once is not begun anew at once, over and over: a log-in each time may lock the account."""

    async def test() -> None:
        office = Office(tmp_path)
        async with (
            ScriptedImap({}, capabilities="IMAP4rev1 UIDPLUS IDLE") as good,
            Meddler(good.port, b"IDLE", b"* BYE no\r\n", ends=True) as meddler,
        ):
            office.collector = office.new_collector()
            office.collector.apply([pop3(meddler.port, protocol="imap", idle=True)], office.terms)
            await office.collector.start(is_online=True)
            await until(lambda: any(b"IDLE" in each for each in meddler.heard))
            await asyncio.sleep(0.5)
            [row] = (await office.collector.answers()["collect.status"]({}))["accounts"]  # type: ignore[index]
            assert meddler.sessions == 1 and 0 < row["next_s"] <= watch.WAITS_S[0], row
            await office.collector.stop()

    run(test)


# Memory that a machine takes, for what a server sends: (what is fed, over and over, up to so many octets).
LINES: Final[dict[str, tuple[bytes, bytes]]] = {
    "POP3 list of short lines": (b"+OK\r\n+OK\r\n", b"1 2\r\n" * 1000),
    "POP3 list of empty lines": (b"+OK\r\n+OK\r\n", b"\r\n" * 1000),
    "IMAP search": (b"* SEARCH", b" 7" * 1000),
    "IMAP flags": (b"* FLAGS (", b"a " * 1000),
    "IMAP fetch": (b"* 1 FETCH (", b"() " * 1000),
}
FED: Final = 4 * 2**20
PEAK_MAX: Final = 64 * 2**20


@pytest.mark.parametrize("what", LINES)
def test_what_is_kept_of_a_line(what: str) -> None:
    """Whatever stands in four megabytes of it, the machine takes a small multiple of that, or refuses."""
    head, piece = LINES[what]
    machine: Any = ImapClient() if "IMAP" in what else Pop3Client()
    if isinstance(machine, Pop3Client):
        machine.command(b"LIST", Kind.LISTING)
    tracemalloc.start()
    try:
        machine.feed(head)
        for _ in range(FED // len(piece)):
            machine.feed(piece)
        machine.feed(b")\r\n" if b"(" in head else b"\r\n.\r\n" if "POP3" in what else b"\r\n")
    except (ImapError, Pop3Error):
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < PEAK_MAX, f"{peak / 2**20:.0f} MiB"


def test_a_list_of_as_many_as_there_may_be() -> None:
    """The bound of lines is above what is collected of a box at once, and holds."""
    for count, is_taken in ((200_000, True), (LISTING_LINES_MAX + 10, False)):
        machine = Pop3Client()
        machine.command(b"LIST", Kind.LISTING)
        machine.feed(b"+OK\r\n+OK\r\n")
        octets = b"".join(b"%d 2\r\n" % n for n in range(count)) + b".\r\n"
        if is_taken:
            assert len(machine.feed(octets)[0].lines) == count  # type: ignore[union-attr]
        else:
            with pytest.raises(Pop3Error, match="no end"):
                machine.feed(octets)


def test_one_that_the_worker_cannot_take_holds_up_its_own_mailbox_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left over from the last run, and refused for now at each try: the other mailbox is collected, its own says why,
    and once it can be taken it comes, once."""
    monkeypatch.setattr(parts, "HAND_TIMES", 1)

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3([("a", message(1))]) as server, ScriptedPop3([("x", message(9))]) as other:
            mine, others = pop3(server.port), pop3(other.port, name="other", username="bert")
            office.refusal = ControlError("its file cannot be read", 75)
            [result] = await office.collect(mine)
            assert not result.is_ok
            office.refused_file, office.refusal = office.asked[0]["file"], None
            results = await asyncio.wait_for(office.collect(mine, others), 20)
            assert [each.is_ok for each in results] == [False, True] and len(office.taken) == 1
            assert "its file cannot be read" in results[0].tell()
            office.refused_file = ""
            results = await office.collect(mine, others)
            assert all(each.is_ok for each in results) and len(office.taken) == 2 and not server.messages

    run(test)
