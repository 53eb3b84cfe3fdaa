"""Incoming: messages that the API is given: streamed to a file, then taken by a worker (smtpd/injection).

A file is removed when its question is answered; it need not be synced, because nobody was told yet that we
have it. What a crash left is removed at the next start."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from cmail.admin.processes import CHANGE_S, Processes
from cmail.mail.envelope import Envelope
from cmail.net.control import EX_TEMPFAIL, ControlError, NotRunningError
from cmail.smtpd.drop_file import print_envelope
from cmail.storage import durable

AT_ONCE_MAX: Final = 16
_NUL: Final = "it has a NUL in it, which no mail program takes"


class TooManyError(ControlError):
    """Others are at it: in a moment."""


@dataclass(frozen=True, slots=True)
class Injected:
    """What became of it: its queue id, or who nobody here is, by the number of the recipient."""

    queue_id: str
    size_bytes: int
    refused: dict[int, str]


class Incoming:
    """Of one admin process."""

    def __init__(self, folder: str, processes: Processes) -> None:
        """`folder`: DATA/admin/incoming."""
        self._folder, self._processes = folder, processes
        self._busy = 0
        self._turns = count()
        self._is_swept = False

    async def inject(
        self, envelope: Envelope, pieces: AsyncIterable[bytes], *, by: str, client: str
    ) -> Injected:
        """Durable when it returns with a queue id. ControlError 65: the message is at fault, 75: we are."""
        if self._busy >= AT_ONCE_MAX:
            raise TooManyError("too many messages come in at once", EX_TEMPFAIL)
        self._busy += 1
        try:
            name = os.urandom(16).hex()
            path = os.path.join(self._folder, name)
            try:
                await self._write(path, envelope, pieces)
                return _injected(await self._ask(name, by, client))
            finally:
                await asyncio.to_thread(durable.remove, path)
        finally:
            self._busy -= 1

    async def _write(self, path: str, envelope: Envelope, pieces: AsyncIterable[bytes]) -> None:
        try:
            fd = await asyncio.to_thread(self._open, path)
        except OSError as error:
            raise ControlError(f"no message can be kept just now: {error.strerror}", EX_TEMPFAIL) from None
        try:
            await _write_all(fd, print_envelope(envelope))
            async for piece in pieces:
                if b"\0" in piece:
                    raise ControlError(_NUL, 65)
                await _write_all(fd, piece)
        except OSError as error:
            raise ControlError(f"no message can be kept just now: {error.strerror}", EX_TEMPFAIL) from None
        finally:
            os.close(fd)

    def _open(self, path: str) -> int:
        durable.make_folder(self._folder)
        if not self._is_swept:
            self._sweep()
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _sweep(self) -> None:
        """What another run of us left."""
        self._is_swept = True
        for name in os.listdir(self._folder):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._folder, name))

    async def _ask(self, name: str, by: str, client: str) -> dict[str, Any]:
        """One worker after the other has its turn; one that is away is passed over."""
        workers = self._processes.workers
        first = next(self._turns)
        for number in range(len(workers)):
            worker = workers[(first + number) % len(workers)]
            try:
                asked = self._processes.ask(
                    worker, "messages.inject", timeout_s=CHANGE_S, file=name, by=by, client=client
                )
                return (await asked).ok
            except NotRunningError:
                continue
        raise NotRunningError("no worker answered", EX_TEMPFAIL)


def _injected(answer: dict[str, Any]) -> Injected:
    refused = {int(number): str(words) for number, words in answer.get("refused", ())}
    return Injected(str(answer.get("id", "")), int(answer.get("size", 0)), refused)


async def _write_all(fd: int, octets: bytes) -> None:
    await asyncio.to_thread(_write, fd, octets)


def _write(fd: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]
