"""What is said over control sockets, and BlockingControlClient, which asks with a plain socket.

Without asyncio, which takes a quick command longer to import than all else that it does. See net/control."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

LINE_MAX: Final = 2**20  # octets of one JSON object; a settings file and a queue page fit well
ASK_S: Final = 10.0  # what a client waits for each line of an answer
PATH_MAX: Final = 108  # octets of a Unix socket's path with its final zero, on Linux

EX_UNAVAILABLE: Final = 69
EX_SOFTWARE: Final = 70
EX_TEMPFAIL: Final = 75

Fields = dict[str, Any]  # a JSON object


class ControlError(Exception):
    """A question that was not answered: words for people, and the exit code that fits (sysexits)."""

    def __init__(self, words: str, code: int = EX_UNAVAILABLE) -> None:
        super().__init__(words)
        self.words = words
        self.code = code


class NotRunningError(ControlError):
    """Nobody listens at the socket: that process (or the whole server) is not running."""


class Answer(NamedTuple):
    """What came back: the rows (unless they were handed on as they came) and the last word."""

    ok: Fields
    rows: list[Fields]


@contextlib.contextmanager
def socket_path(folder: str, name: str) -> Iterator[str]:
    """A path of folder/name.sock that a socket can take, good while the context lasts."""
    plain = os.path.join(folder, f"{name}.sock")
    if len(os.fsencode(plain)) < PATH_MAX:
        yield plain
        return
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}.sock"
    finally:
        os.close(fd)


def encode(fields: Mapping[str, object]) -> bytes:
    """One line of the protocol. What JSON can say and UTF-8 cannot (a lone surrogate) is a question mark."""
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def decode(line: bytes) -> Fields:
    """The object of one line; ControlError when it is none."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise ControlError("not a JSON object", EX_SOFTWARE) from None
    if not isinstance(fields, dict):
        raise ControlError("not a JSON object", EX_SOFTWARE)
    return fields


class BlockingControlClient:
    """Asks one process with a plain socket: for the quick commands, which have no event loop."""

    def __init__(self, folder: str, name: str, timeout_s: float = ASK_S) -> None:
        self._folder, self._name, self._timeout_s = folder, name, timeout_s

    def ask(
        self,
        question: str,
        arguments: Mapping[str, object] | None = None,
        on_row: Callable[[Fields], None] | None = None,
    ) -> Answer:
        """As ControlClient.ask()."""
        rows: list[Fields] = []
        try:
            with self._connect() as connected, connected.makefile("rb") as lines:
                connected.sendall(encode({**(arguments or {}), "ask": question}))
                while True:
                    ok = take(lines.readline(LINE_MAX + 1), on_row or rows.append)
                    if ok is not None:
                        return Answer(ok, rows)
        except TimeoutError:
            raise slow(self._name, self._timeout_s) from None
        except OSError as error:
            raise away(self._name, error) from None

    def _connect(self) -> socket.socket:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(self._timeout_s)
            with socket_path(self._folder, self._name) as path:
                connected.connect(path)
        except OSError:
            connected.close()
            raise
        return connected


def take(line: bytes, on_row: Callable[[Fields], None]) -> Fields | None:
    """Hand on a row (None), or return the last word."""
    if not line.endswith(b"\n"):
        raise ControlError("the server ended the conversation in the middle", EX_TEMPFAIL)
    fields = decode(line)
    if "row" in fields:
        on_row(fields["row"])
        return None
    if isinstance(ok := fields.get("ok"), dict):
        return ok
    code = fields.get("code")
    words = str(fields.get("error", "an answer without words"))
    raise ControlError(words, code if isinstance(code, int) else EX_SOFTWARE)


def away(name: str, error: OSError) -> ControlError:
    if isinstance(error, PermissionError):
        return ControlError(
            f"no right to talk to the server ({name}): run this as root or as the server's user", 77
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
        return NotRunningError(f"the server is not running ({name} does not answer)")
    return NotRunningError(f"the server cannot be asked ({name}: {error})", EX_TEMPFAIL)


def slow(name: str, timeout_s: float) -> ControlError:
    return ControlError(f"{name} did not answer within {timeout_s:.0f} s", EX_TEMPFAIL)
