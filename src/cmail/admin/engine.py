"""Engine Monitor: what the processes of the server do now, what they take, and how near their limits are."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cmail.admin.processes import Processes
from cmail.admin.running import Usage, usage_of
from cmail.net.control import Answer, ControlError
from cmail.queue.connections import LANES_MAX

Fields = dict[str, Any]
MEASURED_S: Final = 1.0  # shorter spans say little of how busy a process is
ROUTES_SHOWN: Final = 50
FULL: Final = 0.9  # of a limit: worth a look


@dataclass(frozen=True, slots=True)
class Process:
    """One of them; None: not known."""

    name: str
    pid: int
    state: str
    restarts: int
    memory_octets: int | None = None
    cpu_percent: float | None = None
    files: int | None = None
    files_max: int | None = None
    sessions: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A next hop that has something to do, over all workers."""

    name: str
    words: str
    connections: int
    connections_max: int
    ready: int
    rests_s: int
    reason: str


@dataclass(frozen=True, slots=True)
class Limit:
    """How far one is used. `unit`: "" for numbers, "octets"."""

    words: str
    used: int
    most: int
    advice: str
    unit: str = ""

    @property
    def is_near(self) -> bool:
        """Whether somebody should look at it."""
        return self.used >= self.most * FULL


@dataclass(frozen=True, slots=True)
class Engine:
    """All of it, as of one moment."""

    status: Mapping[str, Any]
    processes: Sequence[Process] = ()
    routes: Sequence[Route] = ()
    routes_count: int = 0
    limits: Sequence[Limit] = ()
    silent: Mapping[str, str] = field(default_factory=dict)


class EngineMonitor:
    """Looks. How busy a process is, is seen from one look to the next."""

    def __init__(self, processes: Processes, data_dir: str) -> None:
        self._processes, self._data_dir = processes, data_dir
        self._before: dict[int, tuple[float, Usage]] = {}  # pid -> when, what
        self._percents: dict[int, float] = {}

    async def look(self) -> Engine:
        """Ask everybody; who does not answer is shown with what is known."""
        try:
            status = (await self._processes.ask("supervisor", "status")).ok
        except ControlError as error:
            return Engine({}, silent={"supervisor": error.words})
        children: list[Fields] = list(status.get("children", ()))
        names = [str(child["name"]) for child in children]
        told = dict(zip(names, await asyncio.gather(*map(self._process, names)), strict=True))
        working, silent = await self._ask_workers()
        processes = [
            self._show({"name": "supervisor", "pid": status["pid"], "state": "running", "restarts": 0})
        ]
        processes += [
            self._show(child, told.get(child["name"]), working.get(child["name"])) for child in children
        ]
        self._forget({each.pid for each in processes})
        routes = _routes(list(working.values()))
        limits = [*_limits(processes, list(working.values())), *self._space()]
        return Engine(status, processes, routes[:ROUTES_SHOWN], len(routes), limits, silent)

    async def _process(self, name: str) -> Fields | None:
        try:
            return (await self._processes.ask(name, "process")).ok
        except ControlError:
            return None

    async def _ask_workers(self) -> tuple[dict[str, Fields], Mapping[str, str]]:
        """The status of each worker that answers."""
        try:
            heard = await self._processes.ask_workers("status")
        except ControlError as error:
            return {}, {"workers": error.words}
        return {_name(answer): answer.ok for answer in heard.answers}, heard.silent

    def _show(self, child: Fields, told: Fields | None = None, worker: Fields | None = None) -> Process:
        pid = int(child["pid"])
        usage = usage_of(pid) if pid else None
        return Process(
            str(child["name"]),
            pid,
            str(child["state"]),
            int(child["restarts"]),
            usage.memory_octets if usage else None,
            self._percent(pid, usage) if usage else None,
            told["files"] if told else None,
            told["files_max"] if told else None,
            worker.get("sessions") if worker else None,
        )

    def _percent(self, pid: int, usage: Usage) -> float | None:
        """Of one core, since the last look that is long enough ago."""
        now = time.monotonic()
        then, before = self._before.get(pid, (now, usage))
        if before.started_ticks != usage.started_ticks:
            then, before = now, usage
        if now - then >= MEASURED_S:
            self._percents[pid] = 100 * (usage.cpu_s - before.cpu_s) / (now - then)
        if now - then >= MEASURED_S or then == now:
            self._before[pid] = now, usage
        return self._percents.get(pid)

    def _forget(self, pids: set[int]) -> None:
        for gone in set(self._before) - pids:
            del self._before[gone]
            self._percents.pop(gone, None)

    def _space(self) -> list[Limit]:
        try:
            disk = os.statvfs(self._data_dir)
        except OSError:
            return []
        # What is kept for root is neither ours nor used by us.
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        whole = used + disk.f_bavail * disk.f_frsize
        advice = "When little is left, mail is put off (452) and nothing is lost: make room in time."
        return [Limit("Disk of the data folder", used, whole, advice, "octets")]


def _name(answer: Answer) -> str:
    return f"worker-{answer.ok.get('number')}"


def _routes(workers: Sequence[Fields]) -> list[Route]:
    """The busiest first."""
    found: dict[str, list[Fields]] = {}
    for worker in workers:
        for route in worker.get("routes", ()):
            found.setdefault(str(route["route"]), []).append(route)
    routes = [_route(name, parts) for name, parts in found.items()]
    return sorted(routes, key=lambda route: (-route.connections, -route.ready, route.name))


def _route(name: str, parts: Sequence[Fields]) -> Route:
    return Route(
        name,
        route_words(name),
        sum(int(part["connections"]) for part in parts),
        sum(int(part.get("connections_max", 0)) for part in parts),
        sum(int(part["ready"]) for part in parts),
        max(int(part["rests_s"]) for part in parts),
        next((str(part["reason"]) for part in parts if part["rests_s"] and part["reason"]), ""),
    )


def route_words(name: str) -> str:
    """A next hop for people."""
    kind, _, rest = name.partition(":")
    known = {"local": "Mailboxes here", "lmtp": "The LMTP server", "relay": "The upstream server (SMTP Host)"}
    return known.get(kind, f"The servers of {rest}" if rest else name)


def _limits(processes: Sequence[Process], workers: Sequence[Fields]) -> list[Limit]:
    found = []
    if workers:
        sessions_max = sum(int(worker.get("sessions_max", 0)) for worker in workers)
        connections = sum(int(r["connections"]) for worker in workers for r in worker.get("routes", ()))
        found = [
            Limit(
                "Sessions of clients",
                sum(int(worker["sessions"]) for worker in workers),
                sessions_max,
                "limits.sessions for each worker; who comes then is told to come later (421).",
            ),
            Limit(
                "Connections to other servers",
                connections,
                LANES_MAX * len(workers),
                "What waits for a connection keeps its turn.",
            ),
        ]
    if files := [
        (each.files, each.files_max, each.name) for each in processes if each.files and each.files_max
    ]:
        used, most, name = max((used, most, name) for used, most, name in files if used and most)
        found.append(Limit(f"Open files of {name}", used, most, "LimitNOFILE of the unit, ulimit -n."))
    return [limit for limit in found if limit.most]
