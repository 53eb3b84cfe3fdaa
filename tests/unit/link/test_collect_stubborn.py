"""Mailbox servers that refuse one thing and do the rest: the rest is done, and what is refused is said as it is."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from cmail.link.collect import account as account_module
from cmail.link.collect import collector, watch
from cmail.link.collect.box import Fault
from cmail.link.collect.ledger import FILE_NAME
from cmail.net.control import ControlError
from tests.support.collecting import Office, pop3
from tests.support.mailboxes_elsewhere import message
from tests.support.meddler import Meddler
from tests.support.scripted_imap import ScriptedImap
from tests.support.scripted_pop3 import ScriptedPop3
from tests.support.until import until

THREE = [("a", message(1)), ("b", message(2, 200_000)), ("c", message(3))]
USUAL = timedelta(minutes=15)
UIDS = {1: message(1), 2: message(2, 200_000), 5: message(3)}


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """To its end."""
    asyncio.run(asyncio.wait_for(test(), 60))


def imap(port: int, **changes: Any) -> Any:
    return pop3(port, protocol="imap", **changes)


@pytest.mark.parametrize("refused", ["a", "b", "c"])
@pytest.mark.parametrize("has_uidl", [True, False])
def test_one_that_pop3_cannot_give(tmp_path: Path, refused: str, has_uidl: bool) -> None:
    """[SYS/TEMP] for one message, each time: the others come, and are deleted; it is said what is wrong."""

    async def test() -> None:
        office = Office(tmp_path)
        answer = b"-ERR [SYS/TEMP] cannot open file\r\n"
        async with ScriptedPop3(list(THREE), has_uidl=has_uidl, refused={refused: answer}) as server:
            for _ in range(2):
                [result] = await office.collect(pop3(server.port))
                assert not result.is_ok and "cannot open file" in result.tell(), result.tell()
                assert len(office.taken) == 2 and [uid for uid, _ in server.messages] == [refused]
            server.refused.clear()
            [result] = await office.collect(pop3(server.port))
            assert result.is_ok and len(office.taken) == 3 and not server.messages

    run(test)


@pytest.mark.parametrize("refused", [1, 2, 5])
def test_one_that_imap_cannot_give(tmp_path: Path, refused: int) -> None:
    """NO for one message, each time: the others come, and are deleted; it is said what is wrong."""

    async def test() -> None:
        office = Office(tmp_path)
        answer = b"TAG NO [SERVERBUG] Internal error\r\n"
        async with ScriptedImap(dict(UIDS), refused={refused: answer}) as server:
            for _ in range(2):
                [result] = await office.collect(imap(server.port))
                assert not result.is_ok and "Internal error" in result.tell(), result.tell()
                assert len(office.taken) == 2 and set(server.messages) == {refused}
            server.refused.clear()
            [result] = await office.collect(imap(server.port))
            assert result.is_ok and len(office.taken) == 3 and not server.messages

    run(test)


def test_a_server_that_gives_nothing_is_not_asked_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses one after the other: after some the session ends."""
    monkeypatch.setattr(account_module, "WITHHELD_MAX", 2)

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap(dict(UIDS), refused=dict.fromkeys(UIDS, b"TAG NO no\r\n")) as server:
            [result] = await office.collect(imap(server.port))
            assert not result.is_ok and len([each for each in server.heard if "BODY" in each]) == 2

    run(test)


def test_what_a_server_said_before_it_was_wrong_is_no_beginning(tmp_path: Path) -> None:
    """Octets of another message, or half of one and NO: the next time all of it comes, and nothing else."""
    wrong = (
        b"* 1 FETCH (UID 9 BODY[] {11}\r\nX: y\r\n\r\nno!)\r\nTAG OK\r\n",
        b"* 1 FETCH (UID 2 BODY[] {11}\r\nX: y\r\n\r\nno!)\r\nTAG NO disk\r\n",
        b"* 1 FETCH (UID 2 BODY[] {11}\r\nX: y\r\n\r\nno!)\r\n%%\r\n",
    )

    async def test() -> None:
        for number, answer in enumerate(wrong):
            folder = tmp_path / str(number)
            folder.mkdir()
            office = Office(folder)
            async with ScriptedImap({2: UIDS[2]}, refused={2: answer}) as server:
                await office.begin(imap(server.port))
                [result] = await office.collector.run_all("demand")
                assert not result.is_ok and not office.left_over()
                server.refused.clear()
                [result] = await office.collector.run_all("demand")
                assert result.is_ok and office.contents == [UIDS[2]]
                await office.collector.stop()

    run(test)


def test_a_server_that_knows_no_parts(tmp_path: Path) -> None:
    """A line that broke, and a server that sends all of a message when it is asked for the rest: what comes here is
    the message, once."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap({2: UIDS[2]}, cut_content_after=150_000, knows_parts=False) as server:
            await office.begin(imap(server.port))
            for _ in range(3):
                await office.collector.run_all("demand")
            assert office.contents == [UIDS[2]] and not office.left_over() and not server.messages
            await office.collector.stop()

    run(test)


def test_what_came_before_the_line_broke_is_counted(tmp_path: Path) -> None:
    """Two messages are here when the connection ends: status, history and budget hear of them."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            await office.begin(pop3(server.port))
            server.messages = [THREE[0], THREE[2], THREE[1]]
            async with Meddler(server.port, b"RETR 3", b"+OK\r\nx\r\n", ends=True) as meddler:
                account = pop3(meddler.port)
                office.collector.apply([account], office.terms, is_planned=True)
                [result] = await office.collector.run_all("demand")
            assert not result.is_ok and result.fetched == 2 and "2 fetched" in result.tell()
            assert sum(messages for messages, _ in office.came) == 2
            assert result.octets_in == sum(octets for _, octets in office.came) > 500
            [row] = (await office.collector.answers()["collect.status"]({}))["accounts"]  # type: ignore[index]
            assert row["fetched"] == 2
            await office.collector.stop()

    run(test)


NOT_THE_PASSWORD = (
    b"-ERR maildrop already locked\r\n",
    b"-ERR unable to lock maildrop\r\n",
    b"-ERR POP lock busy!  Is another session active?\r\n",
    b"-ERR Mailbox is locked by another POP3 session\r\n",
    b"-ERR mailbox in use\r\n",
    b"-ERR [SYS/PERM] index is broken\r\n",
)


@pytest.mark.parametrize("answer", NOT_THE_PASSWORD)
def test_it_is_not_the_password(tmp_path: Path, answer: bytes) -> None:
    """What servers without codes say when another program has the mailbox open (RFC 1939 §7), and RFC 3206's
    SYS/PERM: nobody is told to type the password again, and an hour is not waited."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE), answers={"PASS": answer}) as server:
            [result] = await office.collect(pop3(server.port))
            assert result.fault is Fault.SERVER and "password" not in result.tell(), result.tell()

    run(test)


def test_an_account_that_is_locked_is_the_password(tmp_path: Path) -> None:
    """It stays locked for as long as somebody tries."""

    async def test() -> None:
        office = Office(tmp_path)
        answers = {"PASS": b"-ERR account locked, too many failures\r\n"}
        async with ScriptedPop3(list(THREE), answers=answers) as server:
            [result] = await office.collect(pop3(server.port))
            assert result.fault is Fault.LOG_IN

    run(test)


@pytest.mark.parametrize("capabilities", [None, ("USER", "UIDL", "TOP"), ("USER", "UIDL")])
@pytest.mark.parametrize("renames", [False, True])
def test_a_preview_where_there_is_no_top(
    tmp_path: Path, capabilities: tuple[str, ...] | None, renames: bool
) -> None:
    """TOP is optional (RFC 1939 §7), and some offer it and refuse it: the preview says what is known, comes once, and
    all of it can be had."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(
            list(THREE), capabilities=capabilities, has_top=False, renames=renames
        ) as server:
            await office.begin(pop3(server.port, largest=100_000))
            for count in (1, 0, 0):
                [result] = await office.collector.run_all("demand")
                assert result.is_ok and result.previewed == count
            [preview] = [each for each in office.contents if b"not fetched yet" in each]
            assert b"cmail collect fetch isp" in preview
            answers = office.collector.answers()
            [row] = (await answers["collect.list"]({}))["messages"]  # type: ignore[index]
            told: Any = await answers["collect.fetch"]({"name": "isp", "id": row["id"]})
            assert told["told"] == "it is fetched" and office.contents[-1] == THREE[1][1]
            await office.collector.stop()

    run(test)


@pytest.mark.parametrize("name", [b"a b", b"\xe4", b"", b"x" * 600, b"a\x1bb"])
def test_a_name_that_is_none(tmp_path: Path, name: bytes) -> None:
    """A unique-id that RFC 1939 does not allow: its message is known by what stands in it, and comes once."""

    async def test() -> None:
        office = Office(tmp_path)
        answers = {"UIDL": b"+OK\r\n1 a\r\n2 " + name + b"\r\n3 c\r\n.\r\n"}
        async with ScriptedPop3(list(THREE), answers=answers) as server:
            for _ in range(2):
                [result] = await office.collect(pop3(server.port, keep=True))
                assert result.is_ok, result.tell()
            assert len(office.taken) == 3

    run(test)


@pytest.mark.parametrize("answer", [b"TAG NO not for you\r\n", b"TAG BAD what?\r\n"])
def test_idle_that_is_refused(tmp_path: Path, answer: bytes) -> None:
    """Offered, and refused: that is no failure; the mailbox is looked at by `every`."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap(
            dict(UIDS), capabilities="IMAP4rev1 UIDPLUS IDLE", answers={"IDLE": answer}
        ) as server:
            office.collector = office.new_collector()
            office.collector.apply([imap(server.port, idle=True, every=USUAL)], office.terms)
            await office.collector.start(is_online=True)
            await until(lambda: "LOGOUT" in server.heard)
            row: Any = {"state": ""}
            while row["state"] != "waiting":
                await asyncio.sleep(0.01)
                [row] = (await office.collector.answers()["collect.status"]({}))["accounts"]  # type: ignore[index]
            assert row["is_ok"] and row["words"] == "3 fetched" and row["state"] == "waiting", row
            assert 800 < row["next_s"] <= 900 and not office.log.of("warned")
            await office.collector.stop()

    run(test)


def test_new_mail_that_is_told_of_without_end(tmp_path: Path) -> None:
    """EXISTS in every answer, and nothing new: a server is not asked as fast as the line allows."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap(
            {},
            capabilities="IMAP4rev1 UIDPLUS IDLE",
            answers={"UID SEARCH": b"* SEARCH\r\n* 4 EXISTS\r\nTAG OK\r\n"},
        ) as server:
            office.collector = office.new_collector()
            office.collector.apply([imap(server.port, idle=True)], office.terms)
            await office.collector.start(is_online=True)
            await until(lambda: any("SEARCH" in each for each in server.heard))
            await asyncio.sleep(1)
            assert len([each for each in server.heard if "SEARCH" in each]) < 5
            await office.collector.stop()

    run(test)


def test_a_folder_that_cannot_be_opened_now(tmp_path: Path) -> None:
    """NO [UNAVAILABLE] (RFC 5530): nobody is told that there is no such folder."""

    async def test() -> None:
        office = Office(tmp_path)
        answers = {"SELECT": b"TAG NO [UNAVAILABLE] later\r\n"}
        async with ScriptedImap(dict(UIDS), answers=answers) as server:
            [result] = await office.collect(imap(server.port))
            assert "cannot be opened just now: later" in result.tell() and "no folder" not in result.tell()

    run(test)


def test_what_the_worker_refused_is_no_copy_that_anybody_had(tmp_path: Path) -> None:
    """A box of a whole domain: a message that could not be taken, and is asked for anew, comes; it is not thrown
    away as a second copy."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3([("a", message(1, to="anna@example.org"))]) as server:
            account = pop3(server.port, to="@example.org")
            office.refusal = ControlError("its header section is larger than we take", 65)
            await office.collect(account)
            office.refusal = None
            await office.begin(account)
            answers = office.collector.answers()
            [row] = (await answers["collect.list"]({}))["messages"]  # type: ignore[index]
            told: Any = await answers["collect.fetch"]({"name": "isp", "id": row["id"]})
            assert told["told"] == "it is fetched" and len(office.taken) == 1 and not server.messages
            await office.collector.stop()

    run(test)


@pytest.mark.parametrize("at", ["SIZE", "BODY", "RETR"])
def test_one_at_which_the_server_hangs_up(tmp_path: Path, at: str) -> None:
    """It says nothing of what is wrong with a message, each time: after some sessions all others are here, and gone
    there, and the next that comes is not held up."""

    async def test() -> None:
        office = Office(tmp_path)
        imap_there = ScriptedImap({uid: message(uid) for uid in (1, 2, 3, 4)}, breaks={2: at})
        pop3_there = ScriptedPop3([(str(uid), message(uid)) for uid in (1, 2, 3, 4)], breaks={"2"})
        server: Any = pop3_there if at == "RETR" else imap_there
        async with server:
            await office.begin(pop3(server.port, protocol="pop3" if at == "RETR" else "imap"))
            words = set()
            for count in (4, 5):
                for _ in range(5):
                    [result] = await office.collector.run_all("demand")
                    words |= {result.tell()}
                assert len(office.taken) == count - 1 and len(server.messages) == 1, words
                if count == 4:
                    pop3_there.messages.append(("9", message(9)))
                    imap_there.messages[9] = message(9)
            assert any("closed the connection" in each for each in words)
            server.breaks.clear()
            for _ in range(2):
                [result] = await office.collector.run_all("demand")
            assert result.is_ok and len(office.taken) == 5 and not server.messages
            await office.collector.stop()

    run(test)


def test_what_cannot_be_deleted_is_said(tmp_path: Path) -> None:
    """DELE is refused, or others have marked messages where EXPUNGE takes all: all has come, and whoever looks learns
    that the mailbox there fills up."""

    async def test() -> None:
        office = Office(tmp_path)
        answers = {"DELE": b"-ERR read only\r\n"}
        async with ScriptedPop3(list(THREE), answers=answers) as server:
            [result] = await office.collect(pop3(server.port))
            assert (
                result.is_ok
                and result.tell() == "3 fetched; 3 are not deleted there; its server said: read only"
            )
        async with ScriptedImap(dict(UIDS), capabilities="IMAP4rev1", marked={5}) as there:
            [result] = await office.collect(imap(there.port, name="other"))
            assert result.is_ok and "2 are marked as deleted there and stay" in result.tell()

    run(test)


def test_one_that_is_listed_and_not_given(tmp_path: Path) -> None:
    """-ERR without a code: perhaps somebody else has deleted it, perhaps not. What its server said is told."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE), refused={"b": b"-ERR I/O\r\n"}) as server:
            [result] = await office.collect(pop3(server.port))
            assert (
                result.is_ok and result.tell().startswith("2 fetched; a message") and "I/O" in result.tell()
            )

    run(test)


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_a_beginning_that_does_not_end(tmp_path: Path, protocol: str) -> None:
    """TOP of a message in a single line, a server that knows no parts: not all of it comes over the line; the preview
    is made, once, and the next session goes on behind it."""
    large = message(2) + b"x" * 3_000_000 + b"\r\n"

    async def test() -> None:
        office = Office(tmp_path)
        there: Any = ScriptedPop3([THREE[0], ("b", large), ("d", message(4, 1_200_000))])
        if protocol == "imap":
            there = ScriptedImap({1: message(1), 2: large, 4: message(4, 1_200_000)}, knows_parts=False)
        async with there as server:
            account = pop3(server.port, protocol=protocol, largest=100_000)
            for _ in range(4):
                await office.collect(account)
            previews = [each for each in office.contents if b"not fetched yet" in each]
            assert len(previews) == 2 and len(office.taken) == 3 and len(server.messages) == 2
            assert sum(octets for _, octets in office.came) < 2_800_000

    run(test)


def test_a_preview_comes_once_whatever_the_names(tmp_path: Path) -> None:
    """A server that gives all its messages other names in each session: no second preview, the number in the first
    one holds, and the ledger does not grow."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE), renames=True) as server:
            account = pop3(server.port, largest=100_000, keep=True)
            for _ in range(4):
                await office.collect(account)
            [preview] = [each for each in office.contents if b"not fetched yet" in each]
            assert len(office.taken) == 3
            number = int(preview.partition(b"collect fetch isp ")[2].split()[0])
            await office.begin(account)
            answers = office.collector.answers()
            [row] = (await answers["collect.status"]({}))["accounts"]  # type: ignore[index]
            assert row["counts"] == {"done": 2, "previewed": 1}
            told: Any = await answers["collect.fetch"]({"name": "isp", "id": number})
            assert told["told"] == "it is fetched" and office.contents[-1] == THREE[1][1]
            await office.collector.stop()
        with contextlib.closing(apsw.Connection(str(tmp_path / FILE_NAME))) as ledger:
            assert ledger.execute("SELECT count(*) FROM message").get == 3

    run(test)


def test_other_numbers_and_the_same_large_message(tmp_path: Path) -> None:
    """UIDVALIDITY changes: the preview that was delivered is that of the message still."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap(dict(UIDS)) as server:
            account = imap(server.port, largest=100_000)
            await office.collect(account)
            server.validity, server.messages = (
                8,
                {uid + 100: octets for uid, octets in server.messages.items()},
            )
            [result] = await office.collect(account)
            assert result.is_ok and len(office.taken) == 3
            preview = office.contents[-1]
            number = int(preview.partition(b"collect fetch isp ")[2].split()[0])
            await office.begin(account)
            told: Any = await office.collector.answers()["collect.fetch"]({"name": "isp", "id": number})
            assert told["told"] == "it is fetched" and office.contents[-1] == UIDS[2] and not server.messages
            await office.collector.stop()

    run(test)


def test_inbox_in_whatever_case(tmp_path: Path) -> None:
    """It is one folder: nothing that was kept there comes again when it is written in another way."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap(dict(UIDS)) as server:
            for folder in ("INBOX", "Inbox", "inbox"):
                await office.collect(imap(server.port, keep=True, folder=folder))
            assert len(office.taken) == 3

    run(test)


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**40, True, "1", None])
def test_a_number_that_is_none(tmp_path: Path, number: object) -> None:
    """Whatever is asked for, it is answered that there is no such message, and nothing goes wrong here."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            await office.begin(pop3(server.port))
            with pytest.raises(ControlError) as caught:
                await office.collector.answers()["collect.fetch"]({"name": "isp", "id": number})  # type: ignore[misc]
            assert caught.value.code == 64
            await office.collector.stop()

    run(test)


def test_many_that_hang_keep_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six mailboxes of a provider whose server says nothing any more, at whatever command: that of another provider
    is collected all the same."""
    monkeypatch.setattr(watch, "QUIET_S", 0.2)

    async def test() -> None:
        office = Office(tmp_path)
        async with contextlib.AsyncExitStack() as stack:
            hanging = [
                pop3(
                    (await stack.enter_async_context(ScriptedPop3(list(THREE), hang_at=at))).port,
                    name=f"hangs{number}",
                    username=f"user{number}",
                )
                for number, at in enumerate(("CAPA", "PASS", "LIST", "UIDL", "RETR", "DELE"))
            ]
            good = await stack.enter_async_context(ScriptedPop3(list(THREE)))
            await office.begin(*hanging, pop3(good.port))
            everybody = asyncio.create_task(office.collector.run_all("exchange"))
            await until(lambda: not good.messages)
            assert not everybody.done()
            await office.collector.stop()
            everybody.cancel()

    run(test)


def test_a_beginning_that_nobody_goes_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that broke in the middle of a message which then was deleted elsewhere: what came of it does not stay on
    our disk until we are started again."""
    monkeypatch.setattr(collector, "LOOK_AGAIN_S", 0.02)

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedImap({2: UIDS[2]}, cut_content_after=150_000) as server:
            await office.begin(imap(server.port))
            await office.collector.run_all("demand")
            [part] = office.left_over()
            server.messages.clear()
            await office.collector.run_all("demand")
            await asyncio.sleep(0.1)
            assert office.left_over() == [part]
            os.utime(office.incoming / part, (1e9, 1e9))
            await until(lambda: not office.left_over())
            await office.collector.stop()

    run(test)
