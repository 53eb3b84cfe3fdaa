"""Runs one child process: its event loop, its tether to the supervisor, its control socket, its end."""

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Protocol

from cmail.admin.running import own_process
from cmail.app.child import Tether, take_handed
from cmail.app.snapshot import Snapshot, handed_over
from cmail.net.control import AnswerFunction, ControlError, ControlServer, Fields
from cmail.observe import log_file, maillog
from cmail.settings import SettingError

STOP_S: Final = 25.0  # a little less than the supervisor waits before it kills
EX_SOFTWARE: Final = 70
EX_OSERR: Final = 71
EX_CONFIG: Final = 78

PortKey = tuple[str, str]  # kind and address, as in the file


class StartError(Exception):
    """A process cannot start; words for a person, and the exit code (78: starting again cannot help)."""

    def __init__(self, words: str, code: int = EX_OSERR) -> None:
        super().__init__(words)
        self.code = code


class Part(Protocol):
    """What a process is made of: composed by app/house.py, run here."""

    async def start(self, tasks: "Tasks") -> None:
        """Build, open, listen; when it returns, it serves."""
        ...

    async def reachable(self) -> None:
        """From now on it can be asked: what was to be told before that is looked up."""
        ...

    async def apply(
        self, snapshot: Snapshot, ports: list[PortKey], new: dict[PortKey, socket.socket]
    ) -> None:
        """Other settings. SettingError or OSError: the old ones hold."""
        ...

    async def stop(self) -> None:
        """Take nothing new, finish what can be finished in a few seconds, close."""
        ...

    def answers(self) -> Mapping[str, AnswerFunction]:
        """Which control questions it answers."""
        ...


class Tasks:
    """The long-running tasks of a process. One that ends by an exception ends the process, with a
    trace in the log, and the supervisor starts it again: nothing is ever stuck in silence."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self.over = asyncio.Event()
        self.code = 0

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start one."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log(f"task {task.get_name()} ended", error)
            self.end(EX_SOFTWARE)

    def end(self, code: int = 0) -> None:
        """The process is to stop."""
        self.code = self.code or code
        self.over.set()

    async def cancel(self) -> None:
        """Cancel what still runs and wait for it."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


def run(name: str, part: Part, tether: Tether, run_folder: str) -> int:
    """The life of a process; its exit code."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_run(name, part, tether, run_folder))
    except (StartError, SettingError) as error:
        maillog.warned(f"{name} cannot start: {error}")
        return error.code if isinstance(error, StartError) else EX_CONFIG
    except OSError as error:
        maillog.failed(f"{name} cannot start: {error}")
        return EX_OSERR


def _loop_factory() -> Any:
    """uvloop where it is there; CMAIL_LOOP=asyncio asks for the plain loop."""
    if os.environ.get("CMAIL_LOOP") == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(name: str, part: Part, tether: Tether, run_folder: str) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_on_exception)
    tasks = Tasks()
    loop.add_signal_handler(signal.SIGTERM, tasks.end)
    started_wall_ms = time.time_ns() // 1_000_000

    async def process(_request: Fields) -> Fields:
        return own_process(started_wall_ms)

    control = ControlServer({"process": process, **part.answers()}, maillog.failed)
    await part.start(tasks)
    gc.freeze()  # what the parts are made of stays: the collector need not look at it again
    await control.start(run_folder, name)
    await part.reachable()
    hearing = asyncio.create_task(_hear(part, tasks, tether, control), name="tether")
    await tasks.over.wait()
    hearing.cancel()
    await control.close()
    try:
        async with asyncio.timeout(STOP_S):
            await part.stop()
            await tasks.cancel()
    except TimeoutError:
        maillog.warned(f"{name} did not come to its end within {STOP_S:.0f} s")
    return tasks.code


async def _hear(part: Part, tasks: Tasks, tether: Tether, control: ControlServer) -> None:
    """Answer the supervisor until it tells us to stop, or is gone."""

    async def ping(_request: Fields) -> Fields:
        log_file.heal()
        await control.listen_again()
        return {"pid": os.getpid()}

    async def stop(_request: Fields) -> Fields:
        tasks.end()
        return {}

    async def reopen(_request: Fields) -> Fields:
        log_file.reopen()
        return {}

    async def apply(request: Fields) -> Fields:
        return await _apply(part, tether.hand, request)

    answers: dict[str, AnswerFunction] = {
        "ping": ping,
        "stop": stop,
        "log.reopen": reopen,
        "settings.apply": apply,
    }
    reader, writer = await asyncio.open_connection(sock=tether.stream, limit=2**21)
    try:
        await ControlServer(answers, maillog.failed).converse(reader, writer, idle_s=None)
    finally:
        tasks.end()


async def _apply(part: Part, hand: socket.socket, request: Fields) -> Fields:
    ports = [(str(kind), str(address)) for kind, address in request["ports"]]
    keys = [(str(kind), str(address)) for kind, address in request["new"]]
    handed = take_handed(hand, len(keys))  # sent before the question: they are there
    new = {key: socket.socket(fileno=fd) for key, fd in zip(keys, handed, strict=True)}
    try:
        snapshot = handed_over(
            int(request["number"]),
            request["path"],
            request["text"],
            request["smtp_password"],
            request.get("passwords"),
        )
        await part.apply(snapshot, ports, new)
        log_file.limit_journal(snapshot.settings.log.keep_size)
    except (SettingError, OSError) as error:
        raise ControlError(str(error), EX_CONFIG) from None
    return {"number": snapshot.number}


def _on_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody caught in a callback: logged with its trace; the process goes on."""
    _log(str(context.get("message", "an exception in the event loop")), context.get("exception"))


def _log(text: str, error: BaseException | None) -> None:
    if error is None:
        maillog.warned(text)
        return
    try:
        raise error
    except BaseException:
        maillog.failed(text)
