"""Collecting from POP3 servers that hang, lie, forget and break off: each message once, none is lost."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cmail.link.collect import line
from cmail.link.collect.box import Fault
from cmail.link.collect.preview import print_size
from cmail.net.control import ControlError
from tests.support.collecting import Office, pop3
from tests.support.mailboxes_elsewhere import message
from tests.support.scripted_pop3 import ScriptedPop3

THREE = [("a", message(1)), ("b", message(2, 200_000)), ("c", message(3))]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """To its end, in no time that matters."""
    asyncio.run(asyncio.wait_for(test(), 60))


def numbers(office: Office) -> list[int]:
    """Which messages the worker has, by their subjects."""
    return sorted(int(each.partition(b"Subject: number ")[2].split(b"\r")[0]) for each in office.contents)


def test_each_comes_once_and_is_deleted(tmp_path: Path) -> None:
    """Three messages, octet for octet; a second collection finds nothing; nothing is left over here."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            [result] = await office.collect(pop3(server.port))
            assert result.is_ok and (result.fetched, result.deleted) == (3, 3)
            assert sorted(office.contents) == sorted(octets for _, octets in THREE)
            assert {to for to, _ in office.taken} == {("anna@example.org",)}
            assert not server.messages and not office.left_over()
            [result] = await office.collect(pop3(server.port))
            assert result.tell() == "nothing new" and len(office.taken) == 3

    run(test)


def test_what_is_kept_there_is_never_fetched_again(tmp_path: Path) -> None:
    """keep = true: the second session asks for nothing, and a new message alone comes in the third."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            for more in ([], [], [("d", message(4))]):
                server.messages += more
                await office.collect(pop3(server.port, keep=True))
            assert server.retrieved == ["a", "c", "b", "d"]  # small before large
            assert numbers(office) == [1, 2, 3, 4] and len(server.messages) == 4
            assert not any(each.startswith("DELE") for each in server.heard)

    run(test)


# What is wrong with the server, and what is said of it; each message has come once when it is right again.
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "cut in the middle of a message": ({"cut_retr_after": 50_000}, "closed the connection"),
    "cut before the first octet": ({"cut_retr_after": 0}, "closed the connection"),
    "cut at QUIT": ({"cut_at": "QUIT"}, "closed the connection"),
    "cut at DELE": ({"cut_at": "DELE"}, "closed the connection"),
    "cut at LIST": ({"cut_at": "LIST"}, "closed the connection"),
    "hangs at RETR": ({"hang_at": "RETR"}, "did not answer within"),
    "hangs at CAPA": ({"hang_at": "CAPA"}, "did not answer within"),
    "garbage for a greeting": ({"answers": {"greeting": b"HTTP/1.1 400 no\r\n"}}, "no answer of POP3"),
    "does not let us in": ({"answers": {"greeting": b"-ERR too busy\r\n"}}, "too busy"),
    "a line without an end": ({"answers": {"greeting": b"x" * 100_000}}, "longer than any answer"),
    "garbage in LIST": ({"answers": {"LIST": b"+OK\r\nabc\r\n.\r\n"}}, "its list of sizes"),
    "garbage in UIDL": ({"answers": {"UIDL": b"+OK\r\nnone\r\n.\r\n"}}, "its list of unique-ids"),
    "bare line feeds": ({"answers": {"greeting": b"+OK\n"}}, "no answer of POP3"),
    "wrong password": ({"answers": {"PASS": b"-ERR [AUTH] no\r\n"}}, "does not take the user name"),
    "in use": ({"answers": {"PASS": b"-ERR [IN-USE] locked\r\n"}}, "in use by another program"),
    "log-in delay": ({"answers": {"PASS": b"-ERR [LOGIN-DELAY] wait\r\n"}}, "more time between"),
    "not now": ({"answers": {"PASS": b"-ERR [SYS/TEMP] disk\r\n"}}, "cannot let us in just now"),
    "QUIT refused": ({"answers": {"QUIT": b"-ERR some not removed\r\n"}}, "did not delete"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_server_in_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """The trouble is said in words, and when it is over all is here, once, and gone there."""
    wrong, words = BAD[what]
    monkeypatch.setattr(line, "ANSWER_S", 0.5)
    monkeypatch.setattr(line.Line.next, "__defaults__", (0.5,))

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE), **wrong) as server:
            [result] = await office.collect(pop3(server.port))
            assert not result.is_ok and words in result.tell()
            assert "secret" not in str(office.log.events)
            assert result.fault is (Fault.LOG_IN if what == "wrong password" else result.fault)
            monkeypatch.undo()
            server.hang_at = server.cut_at = ""
            server.answers.clear()
            [result] = await office.collect(pop3(server.port))
            assert result.is_ok and numbers(office) == [1, 2, 3] and not server.messages
            assert not office.left_over()

    run(test)


ODD: dict[str, dict[str, Any]] = {
    "no CAPA": {"capabilities": None},
    "no UIDL": {"has_uidl": False},
    "no UIDL and no TOP": {"has_uidl": False, "has_top": False, "capabilities": ("USER",)},
    "no UIDL, and notes what was read": {"has_uidl": False, "status_field": True},
    "other names each time": {"renames": True},
    "sizes that are too small": {"size_lie": -40},
    "sizes that are too large": {"size_lie": 1000},
    "no pipelining": {"capabilities": ("USER", "UIDL", "TOP")},
}


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("what", ODD)
def test_an_odd_server(tmp_path: Path, what: str, keep: bool) -> None:
    """Each message is given to the worker once, however often it is listed."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE), **ODD[what]) as server:
            for _ in range(3):
                [result] = await office.collect(pop3(server.port, keep=keep))
                assert result.is_ok, result.words
            assert numbers(office) == [1, 2, 3]
            assert len(server.messages) == (3 if keep else 0)

    run(test)


def test_a_server_that_does_not_delete(tmp_path: Path) -> None:
    """It says that it has, and lists it again: it is not fetched a second time into anybody's mailbox."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE), forgets_deletes=True) as server:
            for _ in range(3):
                [result] = await office.collect(pop3(server.port))
                assert result.is_ok
            assert numbers(office) == [1, 2, 3]

    run(test)


def test_a_name_that_is_given_again(tmp_path: Path) -> None:
    """RFC 1939 §7: after a message is gone its name may be that of another one, which comes too."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3([("1", message(1))]) as server:
            await office.collect(pop3(server.port))
            server.messages = [("1", message(2))]
            await office.collect(pop3(server.port))
            assert numbers(office) == [1, 2] and not server.messages

    run(test)


@pytest.mark.parametrize("has_uidl", [True, False])
def test_two_that_are_the_same_are_two(tmp_path: Path, has_uidl: bool) -> None:
    """Octet for octet, there at the same time: nobody may say that one of them is enough."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3([("a", message(1)), ("b", message(1))], has_uidl=has_uidl) as server:
            [result] = await office.collect(pop3(server.port))
            assert result.fetched == 2 and not server.messages

    run(test)


def test_the_same_name_twice(tmp_path: Path) -> None:
    """A server that gives a name to a second message beside the first: that one comes too, and with `keep` none
    of them twice."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3([("a", message(1))]) as server:
            await office.collect(pop3(server.port, keep=True))
            server.messages.append(("a", message(2)))
            for _ in range(2):
                await office.collect(pop3(server.port, keep=True))
            assert numbers(office) == [1, 2]

    run(test)


def test_a_message_that_vanishes(tmp_path: Path) -> None:
    """Listed, and gone when it is asked for: the others come, and nothing is said to be wrong."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE), vanished={"b"}) as server:
            [result] = await office.collect(pop3(server.port))
            assert result.is_ok and numbers(office) == [1, 3]
            assert [uid for uid, _ in server.messages] == ["b"]

    run(test)


@pytest.mark.parametrize("size_lie", [0, -190_000])
def test_larger_than_anything_here(tmp_path: Path, size_lie: int) -> None:
    """More than max_message_size: it is left there and said; a server that lies of its size is cut off, and all
    others come."""

    async def test() -> None:
        office = Office(tmp_path, size_max=100_000)
        async with ScriptedPop3(list(THREE), size_lie=size_lie) as server:
            for _ in range(2):
                await office.collect(pop3(server.port))
            assert numbers(office) == [1, 3] and [uid for uid, _ in server.messages] == ["b"]
            assert server.retrieved.count("b") == (1 if size_lie else 0)
            await office.begin(pop3(server.port))
            [row] = (await office.collector.answers()["collect.list"]({}))["messages"]  # type: ignore[index]
            assert row["state"] == "left" and "97.7 KiB" in row["words"]
            await office.collector.stop()

    run(test)


def test_a_preview_and_then_all_of_it(tmp_path: Path) -> None:
    """`largest`: a message in plain words with size, subject and command; it is not fetched by itself again, and
    comes whole when somebody asks for it."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            account = pop3(server.port, largest=100_000)
            for _ in range(2):
                await office.collect(account)
            assert len(office.taken) == 3 and server.retrieved == ["a", "c"]
            [preview] = [each for each in office.contents if b"not fetched" in each]
            size = print_size(len(THREE[1][1]))
            assert f"Subject: {size}, not fetched yet: number 2\r\n".encode() in preview
            assert b"Bert <bert@example.net>" in preview and b"> .dot" in preview
            assert [uid for uid, _ in server.messages] == ["b"]
            await office.begin(account)
            answers = office.collector.answers()
            [row] = (await answers["collect.list"]({}))["messages"]  # type: ignore[index]
            assert f"cmail collect fetch isp {row['id']}".encode() in preview
            told: Any = await answers["collect.fetch"]({"name": "isp", "id": row["id"]})
            assert told["told"] == "it is fetched" and office.contents[-1] == THREE[1][1]
            assert not server.messages
            with pytest.raises(ControlError) as caught:
                await answers["collect.fetch"]({"name": "isp", "id": row["id"]})
            assert caught.value.code == 67
            await office.collector.stop()

    run(test)


def test_a_circle_ends(tmp_path: Path) -> None:
    """What is collected and sent back to the same mailbox comes three times; then it is left there, and said."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3([("0", message(1))]) as server:
            for number in range(1, 6):
                await office.collect(pop3(server.port))
                if len(office.taken) < number:
                    break
                trace = f"Received: from 127.0.0.1 (mailbox isp)\r\n\tby mail.example.org with POP3 id {number}\r\n"
                server.messages = [(str(number), trace.encode() + office.contents[-1])]
            assert len(office.taken) == 3 and len(server.messages) == 1
            assert "round in circles" in str(office.log.of("warned"))

    run(test)


def test_what_the_worker_refuses_is_left_there(tmp_path: Path) -> None:
    """65: the message is at fault. It stays at the server, is not asked for again, and can be wanted anew."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE[:1])) as server:
            office.refusal = ControlError("its header section is larger than we take", 65)
            for _ in range(2):
                [result] = await office.collect(pop3(server.port))
            assert result.is_ok and server.retrieved == ["a"] and len(server.messages) == 1
            assert not office.left_over()

    run(test)


def test_a_worker_that_cannot_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """75: it stays here, is not fetched a second time, and is handed over when the worker can; only then it is
    deleted there."""
    monkeypatch.setattr("cmail.link.collect.parts.HAND_TIMES", 2)
    monkeypatch.setattr("cmail.link.collect.parts.HAND_AGAIN_S", 0.01)

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE[:1])) as server:
            office.refusal = ControlError("there is no room for a message just now", 75)
            [result] = await office.collect(pop3(server.port))
            assert not result.is_ok and "no room" in result.tell() and len(server.messages) == 1
            office.refusal = None
            [result] = await office.collect(pop3(server.port))
            assert result.is_ok and server.retrieved == ["a"] and not server.messages
            assert numbers(office) == [1] and not office.left_over()

    run(test)


def test_off_line_nothing_is_tried_and_sessions_end(tmp_path: Path) -> None:
    """Down: the session ends at once and nobody connects; up: what is asked for comes."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE), hang_at="RETR") as server:
            await office.begin(pop3(server.port))
            asked = asyncio.create_task(office.collector.run_all("link-up"))
            await server.hangs.wait()
            office.collector.set_online(False)
            [result] = await asyncio.wait_for(asked, 5)
            assert "off line" in result.tell() or "went down" in result.tell()
            [result] = await office.collector.run_all("demand")
            assert "off line" in result.tell() and server.sessions == 1
            server.hang_at = ""
            office.collector.set_online(True)
            [result] = await office.collector.run_all("link-up")
            assert result.is_ok and numbers(office) == [1, 2, 3]
            await office.collector.stop()

    run(test)


def test_a_wrong_password_is_not_tried_again_and_again(tmp_path: Path) -> None:
    """An exchange a minute later does not lock the account; a person who asks is heard."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE), answers={"PASS": b"-ERR wrong\r\n"}) as server:
            await office.begin(pop3(server.port))
            for _ in range(3):
                [result] = await office.collector.run_all("exchange")
                assert not result.is_ok
            assert server.sessions == 1 and "cmail collect now" in result.tell()
            server.answers.clear()
            [result] = await office.collector.run_all("demand")
            assert result.is_ok and server.sessions == 2
            await office.collector.stop()

    run(test)


def test_what_is_wrong_is_told_until_it_is_right(tmp_path: Path) -> None:
    """Since when it has failed, and whose trouble it is; off line nothing is wrong; a success ends it."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE), answers={"PASS": b"-ERR wrong\r\n"}) as server:
            await office.begin(pop3(server.port))
            assert office.collector.troubles() == []
            await office.collector.run_all("demand")
            since_ms = office.clock.wall_ms()
            office.clock.advance(100)
            await office.collector.run_all("demand")
            [trouble] = office.collector.troubles()
            assert (trouble["name"], trouble["fault"], trouble["since_ms"]) == ("isp", "log-in", since_ms)
            assert "password" in trouble["words"]
            office.collector.set_online(False)
            assert office.collector.troubles() == []
            office.collector.set_online(True)
            assert len(office.collector.troubles()) == 1
            server.answers.clear()
            await office.collector.run_all("demand")
            assert office.collector.troubles() == []
            await office.collector.stop()

    run(test)


def test_all_that_comes_is_counted_whoever_asked(tmp_path: Path) -> None:
    """Messages and octets as they come, for the budget of the link: it may be used up in the middle of a session."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            await office.begin(pop3(server.port))
            await office.collector.run_all("demand")
            assert [messages for messages, _ in office.came] == [1, 1, 1, 0]
            assert 200 < office.came[0][1] < 2000 and sum(octets for _, octets in office.came) > 200_000
            office.came.clear()
            await office.collector.run_all("exchange")
            [(nothing, few)] = office.came
            assert nothing == 0 and 0 < few < 1000
            await office.collector.stop()

    run(test)


def test_a_password_never_goes_over_an_open_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on loopback, and without TLS: the log-in is not tried, and why is said."""
    is_loopback = property(lambda _: False, lambda *_: None)
    monkeypatch.setattr(line.Line, "is_loopback", is_loopback, raising=False)

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            [result] = await office.collect(pop3(server.port))
            assert "not encrypted" in result.tell()
            assert not any(each.startswith(("USER", "PASS", "AUTH")) for each in server.heard)

    run(test)


def test_nobody_there_and_no_such_host(tmp_path: Path) -> None:
    """Plain words for each."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3() as server:
            port = server.port
        [result] = await office.collect(pop3(port))
        assert "cannot be reached: " in result.tell() and "refused" in result.tell()
        [result] = await office.collect(pop3(port, host="none.isp.example"))
        assert result.tell() == "there is no host none.isp.example"

    run(test)


def test_who_asks_before_the_start_is_over_is_not_told_that_we_are_off_line(tmp_path: Path) -> None:
    """`cmail collect now` right behind `cmail serve` waits until what the last run left is handed over; off
    line it is told so then."""

    async def ask(*, is_online: bool) -> str:
        office = Office(tmp_path)
        collector = office.new_collector()
        collector.apply([pop3(1)], office.terms, is_planned=True)
        await collector.start(is_online=is_online)
        try:
            return (await collector.run_all("demand"))[0].words
        finally:
            await collector.stop()

    assert "off line" not in asyncio.run(ask(is_online=True))
    assert "off line" in asyncio.run(ask(is_online=False))
