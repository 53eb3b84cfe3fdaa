"""Control sockets: ControlServer answers questions, ControlClient asks them
(and net.control_client without an event loop).

A Unix stream socket DATA/run/<name>.sock carries one JSON object a line. Request: {"ask": "queue.list",
...}. Answer: any number of {"row": {...}}, then {"ok": {...}} or {"error": "words", "code": 75}.
Every line, wait and number of connections has a limit. In a data folder with a long name sockets are
reached through /proc/self/fd/N/name (108 octets of path is all that the kernel takes)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from cmail.net.control_client import ASK_S, away, slow, take
from cmail.net.control_client import EX_SOFTWARE as EX_SOFTWARE
from cmail.net.control_client import EX_TEMPFAIL as EX_TEMPFAIL
from cmail.net.control_client import EX_UNAVAILABLE as EX_UNAVAILABLE
from cmail.net.control_client import LINE_MAX as LINE_MAX
from cmail.net.control_client import PATH_MAX as PATH_MAX
from cmail.net.control_client import Answer as Answer
from cmail.net.control_client import BlockingControlClient as BlockingControlClient
from cmail.net.control_client import ControlError as ControlError
from cmail.net.control_client import Fields as Fields
from cmail.net.control_client import NotRunningError as NotRunningError
from cmail.net.control_client import decode as decode
from cmail.net.control_client import encode as encode
from cmail.net.control_client import socket_path as socket_path

# At once, a process; they are our own programs. Some last: a site that takes its mail by ATRN has one in each
# worker in its turn, and there may be a thousand sites.
CONNECTIONS_MAX: Final = 1200
WAITING_MAX: Final = 1000  # further ones, until one ends; the first that came is the first that has its turn
IDLE_S: Final = 60.0  # a connection that asks nothing
WRITE_S: Final = 30.0  # somebody who does not read his answer
RUN_FOLDER: Final = "run"
_made: Final[dict[int, tuple[int, int]]] = {}  # descriptor of a listening socket -> its file

Answered = Fields | AsyncIterator[Fields]
AnswerFunction = Callable[[Fields], Awaitable[Answered]]


def listen(folder: str, name: str) -> socket.socket:
    """A listening socket folder/name.sock (0600). One that is left there is stale: the data folder's
    lock says that no other server runs, and within a server each name has one owner."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(bound.fileno(), 0o600)  # before bind: there is no moment with wider rights
        with socket_path(folder, name) as path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            bound.bind(path)
            status = os.stat(path)
            _made[bound.fileno()] = status.st_dev, status.st_ino
        bound.listen(CONNECTIONS_MAX)  # in one turn of the loop; the kernel has a limit of its own
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def is_there(folder: str, name: str, bound: socket.socket) -> bool:
    """Whether a socket that we listen on is the one that its name leads to. A folder that is away counts
    as there: what comes back brings the socket with it."""
    if not os.path.isdir(os.path.dirname(folder)):
        return True
    try:
        found = os.stat(os.path.join(folder, f"{name}.sock"))
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == _made.get(bound.fileno())


def listen_anew(folder: str, name: str) -> socket.socket:
    """listen() where somebody has removed the folder of the sockets, but not the one above it."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    return listen(folder, name)


def remove_stale(folder: str) -> None:
    """Remove the sockets of a server that is gone: of a worker that there is no more, nobody would."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(fd):
            if name.endswith(".sock"):
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)


class ControlServer:
    """Answers questions in an event loop. `answers` names each question and the function for it."""

    def __init__(
        self,
        answers: Mapping[str, AnswerFunction],
        failed: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._answers = answers
        self._failed = failed  # logs an exception of ours, with its trace
        self._server: asyncio.Server | None = None
        self._folder = self._name = ""
        self._bound: socket.socket
        self._connections: set[asyncio.StreamWriter] = set()
        self._room = asyncio.Semaphore(CONNECTIONS_MAX)

    async def start(self, folder: str, name: str) -> None:
        """Listen at folder/name.sock."""
        self._folder, self._name = folder, name
        await self._serve(listen(folder, name))

    async def _serve(self, bound: socket.socket) -> None:
        self._bound = bound
        self._server = await asyncio.start_unix_server(self.converse, sock=bound, limit=LINE_MAX)

    async def listen_again(self) -> None:
        """Where the socket was removed: a new one. Nothing while its folder cannot be reached."""
        if self._server is None or is_there(self._folder, self._name, self._bound):
            return
        with contextlib.suppress(OSError):
            bound = listen_anew(self._folder, self._name)
            self._server.close()
            await self._serve(bound)

    async def close(self) -> None:
        """Take no more questions and end the conversations."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections):
            writer.close()

    async def converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        idle_s: float | None = IDLE_S,
    ) -> None:
        """Answer one connection until it ends or idles."""
        if len(self._connections) >= CONNECTIONS_MAX + WAITING_MAX:
            writer.close()
            return
        self._connections.add(writer)
        try:
            async with self._room:
                while line := await asyncio.wait_for(_read_line(reader), idle_s):
                    await self._answer(line, writer)
        except (TimeoutError, OSError, ControlError):
            pass  # the client is gone, idles, or speaks something else
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            request = decode(line)
            function = self._answers.get(str(request.get("ask", "")))
            if function is None:
                raise ControlError(f"no such question: {request.get('ask')!r:.100}", EX_SOFTWARE)
            answered = await function(request)
            if not isinstance(answered, dict):
                answered = await _send_rows(answered, writer)
            last: Fields = {"ok": answered}
        except ControlError as error:
            last = {"error": error.words, "code": error.code}
        except OSError as error:
            if not _is_alive(writer):
                raise
            last = {"error": str(error), "code": EX_TEMPFAIL}
        except Exception:
            self._failed(f"control question {line[:100]!r}")
            last = {"error": "an error of ours; the log has its trace", "code": EX_SOFTWARE}
        await _send(writer, last)


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError:
        return b""  # the end
    except asyncio.LimitOverrunError:
        raise ControlError(f"a line of more than {LINE_MAX} octets", EX_SOFTWARE) from None


async def _send_rows(rows: AsyncIterator[Fields], writer: asyncio.StreamWriter) -> Fields:
    rows_count = 0
    async for row in rows:
        rows_count += 1
        await _send(writer, {"row": row})
    return {"rows": rows_count}


async def _send(writer: asyncio.StreamWriter, fields: Mapping[str, object]) -> None:
    if writer.is_closing():  # uvloop says so by an error that is no OSError
        raise ConnectionResetError("the connection was closed")
    writer.write(encode(fields))
    await asyncio.wait_for(writer.drain(), WRITE_S)


def _is_alive(writer: asyncio.StreamWriter) -> bool:
    return not writer.is_closing()


class ControlClient:
    """Asks one process, from within an event loop; a connection a question."""

    def __init__(self, folder: str, name: str, timeout_s: float = ASK_S) -> None:
        self._folder, self._name, self._timeout_s = folder, name, timeout_s

    async def ask(
        self,
        question: str,
        arguments: Mapping[str, object] | None = None,
        on_row: Callable[[Fields], None] | None = None,
    ) -> Answer:
        """Ask and wait for the last word. Rows go to on_row as they come, or into the answer.
        ControlError: it said no; NotRunningError: it is not there."""
        rows: list[Fields] = []
        async with self._asked(question, arguments or {}) as next_line:
            while (ok := take(await next_line(), on_row or rows.append)) is None:
                pass
        return Answer(ok, rows)

    async def rows(self, question: str, arguments: Mapping[str, object]) -> AsyncGenerator[Fields]:
        """The rows of an answer one by one, as fast as they are taken. Errors as of ask(); aclose() it."""
        rows: list[Fields] = []
        async with self._asked(question, arguments) as next_line:
            while take(await next_line(), rows.append) is None:
                yield rows.pop()

    @contextlib.asynccontextmanager
    async def _asked(
        self, question: str, arguments: Mapping[str, object]
    ) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """What gives the lines of the answer, each within the time; what goes wrong is said in words."""
        writer = None
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._connect()
            writer.write(encode({**arguments, "ask": question}))
            yield lambda: asyncio.wait_for(_read_line(reader), self._timeout_s)
        except TimeoutError:
            raise slow(self._name, self._timeout_s) from None
        except OSError as error:
            raise away(self._name, error) from None
        finally:
            if writer is not None:
                writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        with socket_path(self._folder, self._name) as path:
            return await asyncio.open_unix_connection(path, limit=LINE_MAX)
