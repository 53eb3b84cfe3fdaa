"""Control sockets: questions, rows, errors and limits of net/control.py."""

import asyncio
import contextlib
import gc
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from cmail.net import control
from cmail.net.control import (
    AnswerFunction,
    BlockingControlClient,
    ControlClient,
    ControlError,
    ControlServer,
    Fields,
    NotRunningError,
)


async def _echo(request: Fields) -> Fields:
    return {"said": request["text"]}


async def _count(request: Fields) -> AsyncIterator[Fields]:
    async def rows() -> AsyncIterator[Fields]:
        for number in range(request["to"]):
            yield {"number": number}

    return rows()


async def _refuse(_request: Fields) -> Fields:
    raise ControlError("not today", 75)


async def _break(_request: Fields) -> Fields:
    raise KeyError("a bug")


ANSWERS: dict[str, AnswerFunction] = {"echo": _echo, "count": _count, "refuse": _refuse, "break": _break}


def run(folder: Path, talk: Callable[[ControlClient], Awaitable[None]]) -> list[str]:
    """Let `talk` ask a server named `it`; what the server logged."""
    log: list[str] = []

    async def main() -> None:
        server = ControlServer(ANSWERS, log.append)
        await server.start(str(folder), "it")
        await talk(ControlClient(str(folder), "it", 5))
        await server.close()

    asyncio.run(main())
    return log


def test_question_and_last_word(tmp_path: Path) -> None:
    """A question reaches its function with its arguments, and the answer comes back."""

    async def talk(client: ControlClient) -> None:
        assert (await client.ask("echo", {"text": "täglich"})).ok == {"said": "täglich"}

    run(tmp_path, talk)


def test_rows_come_before_the_last_word(tmp_path: Path) -> None:
    """Rows are gathered, or handed on as they come; the last word counts them."""

    async def talk(client: ControlClient) -> None:
        answer = await client.ask("count", {"to": 3})
        assert [row["number"] for row in answer.rows] == [0, 1, 2]
        assert answer.ok == {"rows": 3}
        seen: list[Fields] = []
        assert (await client.ask("count", {"to": 2}, seen.append)).rows == []
        assert len(seen) == 2

    run(tmp_path, talk)


REFUSALS = {
    "refused in words": ("refuse", "not today", 75),
    "unknown question": ("nothing", "no such question: 'nothing'", 70),
    "a bug of ours": ("break", "an error of ours; the log has its trace", 70),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(tmp_path: Path, name: str) -> None:
    """A question that cannot be answered says why, with an exit code; the connection survives it."""
    question, words, code = REFUSALS[name]

    async def talk(client: ControlClient) -> None:
        with pytest.raises(ControlError) as refused:
            await client.ask(question)
        assert (refused.value.words, refused.value.code) == (words, code)
        assert (await client.ask("echo", {"text": 1})).ok == {"said": 1}

    log = run(tmp_path, talk)
    assert len(log) == (question == "break")


def test_blocking_client(tmp_path: Path) -> None:
    """The client without an event loop hears the same."""

    async def talk(_client: ControlClient) -> None:
        client = BlockingControlClient(str(tmp_path), "it", 5)
        answer = await asyncio.to_thread(client.ask, "count", {"to": 2})
        assert len(answer.rows) == 2
        with pytest.raises(ControlError, match="not today"):
            await asyncio.to_thread(client.ask, "refuse")

    run(tmp_path, talk)


def test_not_running(tmp_path: Path) -> None:
    """Nobody there, a stale socket, no folder: each says that the server is not running."""
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale.sock"))
    stale.close()
    for folder, name in [(tmp_path, "none"), (tmp_path, "stale"), (tmp_path / "gone", "it")]:
        with pytest.raises(NotRunningError, match="not running"):
            BlockingControlClient(str(folder), name).ask("echo")
        with pytest.raises(NotRunningError, match="not running"):
            asyncio.run(ControlClient(str(folder), name).ask("echo"))


def test_stale_socket_is_taken_over_and_rights_are_tight(tmp_path: Path) -> None:
    """A socket left by a crash does not stop the next start; only the owner may talk to it."""
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "it.sock"))
    stale.close()

    async def talk(client: ControlClient) -> None:
        await client.ask("echo", {"text": ""})
        assert stat.S_IMODE(os.stat(tmp_path / "it.sock").st_mode) == 0o600

    run(tmp_path, talk)


def test_long_data_folder(tmp_path: Path) -> None:
    """A folder whose name is longer than a socket path may be works all the same."""
    folder = tmp_path / ("long" * 40) / ("longer" * 30)
    folder.mkdir(parents=True)

    async def talk(client: ControlClient) -> None:
        assert (await client.ask("echo", {"text": 1})).ok == {"said": 1}
        blocking = BlockingControlClient(str(folder), "it", 5)
        assert (await asyncio.to_thread(blocking.ask, "echo", {"text": 2})).ok == {"said": 2}

    run(folder, talk)


GARBAGE = {
    "not json": b"hello\n",
    "not an object": b"[1]\n",
    "nested beyond reason": b"[" * 100_000 + b"\n",
    "not text": b"\xff\xfe\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage(tmp_path: Path, name: str) -> None:
    """What is not a question gets an error, and others are served on."""

    async def talk(client: ControlClient) -> None:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "it.sock"))
        writer.write(GARBAGE[name])
        assert b'"error":"not a JSON object"' in await reader.readline()
        writer.close()
        assert (await client.ask("echo", {"text": 1})).ok == {"said": 1}

    run(tmp_path, talk)


def test_line_without_end(tmp_path: Path) -> None:
    """A line beyond the limit ends its connection; memory does not grow with it."""

    async def talk(client: ControlClient) -> None:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "it.sock"))
        writer.write(b"x" * (control.LINE_MAX + 2**20))
        with contextlib.suppress(ConnectionResetError):  # it left the rest of our line unread
            assert await reader.read() == b""
        writer.close()
        assert (await client.ask("echo", {"text": 1})).ok == {"said": 1}

    run(tmp_path, talk)


def test_more_than_can_be_answered_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait in line and all are answered, in the order in which they came; beyond what may wait it is refused."""
    monkeypatch.setattr(control, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(control, "WAITING_MAX", 3)

    async def talk(client: ControlClient) -> None:
        path = str(tmp_path / "it.sock")
        opened = [await asyncio.open_unix_connection(path) for _ in range(5)]
        with pytest.raises(ControlError):
            await client.ask("echo", {"text": "one too many"})
        for number, (_, writer) in enumerate(opened):
            writer.write(control.encode({"ask": "echo", "text": number}))
        for number, (reader, writer) in enumerate(opened):
            assert await reader.readline() == control.encode({"ok": {"said": number}})
            assert all(not len(each._buffer) for each, _ in opened[number + 2 :])  # type: ignore[attr-defined]
            writer.close()

    run(tmp_path, talk)


def test_server_that_does_not_answer(tmp_path: Path) -> None:
    """A client waits so long and no longer."""
    deaf = control.listen(str(tmp_path), "deaf")
    for ask in (
        BlockingControlClient(str(tmp_path), "deaf", 0.05).ask,
        lambda q: asyncio.run(ControlClient(str(tmp_path), "deaf", 0.05).ask(q)),
    ):
        with pytest.raises(ControlError, match="did not answer") as slow:
            ask("echo")
        assert slow.value.code == 75
    deaf.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_closed_before_the_answer_is_known(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """A stop in the middle of a question: who asked hears that it is over, and nothing goes wrong here."""
    wrong: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: wrong.append(context))
        is_asked, may_answer = asyncio.Event(), asyncio.Event()

        async def slow(_request: Fields) -> Fields:
            is_asked.set()
            await may_answer.wait()
            return {}

        server = ControlServer({"slow": slow}, wrong.append)
        await server.start(str(tmp_path), "it")
        asking = asyncio.create_task(ControlClient(str(tmp_path), "it", 5).ask("slow"))
        await is_asked.wait()
        await server.close()
        with pytest.raises(ControlError):
            await asking
        may_answer.set()
        for _ in range(10):
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    gc.collect()
    assert wrong == []
