"""Collecting from IMAP servers that are odd, hostile or cut off: each message once, none is lost."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support.collecting import Office, pop3
from tests.support.mailboxes_elsewhere import message
from tests.support.scripted_imap import ScriptedImap

THREE = {1: message(1), 2: message(2, 200_000), 5: message(3)}


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """To its end."""
    asyncio.run(asyncio.wait_for(test(), 60))


def imap(port: int, **changes: Any) -> Any:
    return pop3(port, protocol="imap", **changes)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("body_as", ["literal", "uid behind"])
def test_each_comes_once(tmp_path: Path, body_as: str, keep: bool) -> None:
    """Octet for octet, without a mark; deleted by UID EXPUNGE, or kept and never fetched again."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap(dict(THREE), body_as=body_as) as server:
            for _ in range(2):
                [result] = await office.collect(imap(server.port, keep=keep))
                assert result.is_ok, result.words
            assert sorted(office.contents) == sorted(THREE.values()) and not office.left_over()
            assert set(server.messages) == (set(THREE) if keep else set())
            fetches = [each for each in server.heard if "BODY" in each]
            assert len(fetches) == 3 and all("BODY.PEEK[]" in each for each in fetches)

    run(test)


def test_a_short_one_as_a_string(tmp_path: Path) -> None:
    """A quoted string is content too (RFC 3501 §7.4.2)."""

    async def test() -> None:
        office = Office(tmp_path)
        octets = b'From: "B" <b@example.net> \\'
        async with ScriptedImap({1: octets}, body_as="quoted") as server:
            await office.collect(imap(server.port))
            assert office.contents == [octets]

    run(test)


def test_it_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    """A line that breaks in the middle of a large message: while we run, only the rest of it is fetched."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap({2: THREE[2]}, cut_content_after=150_000) as server:
            await office.begin(imap(server.port))
            [result] = await office.collector.run_all("demand")
            assert not result.is_ok and "closed the connection" in result.words
            [result] = await office.collector.run_all("demand")
            assert result.is_ok and office.contents == [THREE[2]]
            await office.collector.stop()
            again = [each for each in server.heard if "BODY.PEEK[]<" in each]
            assert len(again) == 1 and int(again[0].partition("<")[2].partition(".")[0]) > 140_000
            assert not office.left_over() and not server.messages

    run(test)


def test_other_numbers_for_the_same_messages(tmp_path: Path) -> None:
    """UIDVALIDITY changes (a server that was rebuilt): with `keep` nobody gets anything a second time."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap(dict(THREE)) as server:
            await office.collect(imap(server.port, keep=True))
            server.validity, server.messages = 8, {uid + 100: octets for uid, octets in THREE.items()}
            [result] = await office.collect(imap(server.port, keep=True))
            assert result.is_ok and len(office.taken) == 3

    run(test)


@pytest.mark.parametrize("others", [set(), {5}])
def test_without_uidplus(tmp_path: Path, others: set[int]) -> None:
    """EXPUNGE takes all that is marked: it is said only when nothing of others is among it."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap(dict(THREE), capabilities="IMAP4rev1", marked=set(others)) as server:
            for _ in range(2):
                [result] = await office.collect(imap(server.port))
                assert result.is_ok, result.words
            assert len(office.taken) == 3 - len(others)
            assert set(server.messages) == (set(THREE) if others else set())

    run(test)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "garbage for a greeting": ({"answers": {"greeting": b"+OK POP3 here\r\n"}}, "no answer of IMAP"),
    "BYE": ({"answers": {"greeting": b"* BYE too busy\r\n"}}, "too busy"),
    "a wrong tag": ({"answers": {"CAPABILITY": b"X1 OK\r\n"}}, "no answer of IMAP"),
    "no password taken": (
        {"answers": {"LOGIN": b"TAG NO [AUTHENTICATIONFAILED] no\r\n"}},
        "does not take the user",
    ),
    "expired": ({"answers": {"LOGIN": b"TAG NO [EXPIRED] old\r\n"}}, "has expired"),
    "not now": ({"answers": {"LOGIN": b"TAG NO [UNAVAILABLE] x\r\n"}}, "cannot let us in just now"),
    "LOGINDISABLED": ({"capabilities": "IMAP4rev1 LOGINDISABLED AUTH=NTLM"}, "no log-in that we know"),
    "no folder": ({"answers": {"SELECT": b"TAG NO no such mailbox\r\n"}}, "there is no folder INBOX"),
    "no UIDVALIDITY": ({"answers": {"SELECT": b"TAG OK\r\n"}}, "UIDVALIDITY"),
    "a search that is none": ({"answers": {"UID SEARCH": b"* SEARCH a b\r\nTAG OK\r\n"}}, "a search found"),
    "a search refused": ({"answers": {"UID SEARCH": b"TAG NO later\r\n"}}, "refuses a search: later"),
    "another message": ({"body_as": "other uid"}, "another message than it was asked for"),
    "brackets without end": ({"answers": {"UID FETCH": b"* 1 FETCH (((((\r\nTAG OK\r\n"}}, "bracket"),
    "a literal without end": (
        {"answers": {"UID FETCH": b"* 1 FETCH (UID {99999999}\r\n"}},
        "where a few are enough",
    ),
    "expunge refused": ({"answers": {"UID EXPUNGE": b"TAG NO not yours\r\n"}}, "refuses to delete"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_server_in_trouble(tmp_path: Path, what: str) -> None:
    """The trouble is said in words, and when it is over all is here, once, and gone there."""
    wrong, words = BAD[what]

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap(dict(THREE), **wrong) as server:
            [result] = await office.collect(imap(server.port))
            assert not result.is_ok and words in result.tell(), result.tell()
            assert "secret" not in str(office.log.events)
            server.answers.clear()
            server.body_as, server.capabilities = "literal", "IMAP4rev1 UIDPLUS"
            [result] = await office.collect(imap(server.port))
            assert result.is_ok and sorted(office.contents) == sorted(THREE.values())
            assert not server.messages and not office.left_over()

    run(test)


def test_a_message_that_vanishes(tmp_path: Path) -> None:
    """NIL, or no FETCH at all: the others come."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap({1: message(1)}, body_as="nil") as server:
            [result] = await office.collect(imap(server.port))
            assert result.is_ok and not office.taken and server.messages

    run(test)


FOUND: dict[str, tuple[bytes, str]] = {
    "some and a span": (b' (TAG "TAG") UID ALL 1:2,5', ""),
    "a span from its end, more said of it": (b' (TAG "TAG") UID MIN 1 all 2:1,5 MODSEQ 9', ""),
    "nothing": (b' (TAG "TAG") UID', "nothing new"),
    "no numbers": (b' (TAG "TAG") UID ALL 1:*', "a search found"),
    "more than there can be": (b' (TAG "TAG") UID ALL 1:4294967295', "a search found more than"),
    "over and over": (b' (TAG "TAG") UID ALL ' + b"1:300000," * 9 + b"1", "a search found more than"),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_server_that_answers_as_later_ones_do(tmp_path: Path, name: str) -> None:
    """ESEARCH (RFC 9051 §7.3.4) to a search: what is there is not taken for nothing; its spans are bounded."""
    said, words = FOUND[name]

    async def test() -> None:
        office = Office(tmp_path)
        answers = {"UID SEARCH": b"* ESEARCH" + said + b"\r\nTAG OK done\r\n"}
        async with ScriptedImap(dict(THREE), answers=answers) as server:
            [result] = await office.collect(imap(server.port))
            assert words in result.tell() and len(office.taken) == (0 if words else 3)

    run(test)


def test_sizes_that_are_not_told(tmp_path: Path) -> None:
    """A server that leaves them out: the messages are there, and come."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap(dict(THREE), has_sizes=False) as server:
            [result] = await office.collect(imap(server.port))
            assert result.is_ok and sorted(office.contents) == sorted(THREE.values()) and not server.messages

    run(test)
