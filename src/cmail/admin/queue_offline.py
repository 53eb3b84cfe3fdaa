"""The queue while no server runs: each shard is opened under its lock, changed, and closed again."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from cmail.admin.asking import PAGE
from cmail.admin.queue import QueueAnswers, RouteTrouble
from cmail.admin.rows import Row, sort_key
from cmail.net.clock import RealClock
from cmail.net.control_client import ControlError
from cmail.policy.routing import LMTP, LOCAL, is_internet
from cmail.storage.spool import Change, Changed, QueuedMessage, Spool
from cmail.storage.spool_shards import ShardTakenError, shards
from cmail.storage.spool_sqlite import SqliteSpool

Fields = dict[str, Any]
_TEMPORARY: Final = 75
_UNAVAILABLE: Final = 69


class _NoLinkClock:
    """Nobody knows the link while no server runs: its time stands still."""

    is_down = True
    periods = 0
    down_for_ms = 0

    def link_ms(self) -> int:
        """0: whatever is to be due now is due on a link clock from its very start."""
        return 0


@dataclass(frozen=True, slots=True)
class _Desk:
    """A shard without a scheduler: the change in the spool is all there is."""

    spool: Spool

    def change_times(self) -> Mapping[str, int]:
        """The wall clock here; on a link clock, which nobody knows now, its very start."""
        wall_ms = RealClock().wall_ms()
        return {"": 1, LOCAL: wall_ms, LMTP: wall_ms}

    def changed(self, change: Change, changed: Changed) -> None:
        """Nobody holds anything in memory."""

    def trouble(self, route: str) -> RouteTrouble | None:
        """Nobody tries anything."""
        return None

    def under_way(self) -> Mapping[tuple[int, int], float]:
        """Nothing is sent."""
        return {}

    async def let_go(self, queue_ids: Sequence[int] | None) -> tuple[int, int]:
        """Nobody sends anything."""
        return 0, 0

    async def bounce(self, message: QueuedMessage, positions: Sequence[int], reason: str) -> int:
        """Reports are written by the server, which knows how."""
        raise ControlError("only a running server can bounce: start it (cmail serve)", _UNAVAILABLE)


class OfflineQueue:
    """All shards of a data folder. Each question opens them and lets go of them again."""

    is_running = False

    def __init__(self, data_dir: str) -> None:
        self._folder = os.path.join(data_dir, "spool")
        self.silent: list[str] = []

    def rows(self, what: Mapping[str, Any], limit: int = 0) -> Iterator[Row]:
        """The recipients of a filter, oldest first; the shards stay locked while it is read."""
        with _Opened(self._folder) as opened:
            after, left = (0, -1), limit or None
            while left is None or left > 0:
                size = PAGE if left is None else min(PAGE, left)
                request = {
                    "filter": dict(what),
                    "limit": size,
                    "after": after,
                }
                page = opened.run_rows("list", request)
                yield from page
                if len(page) < size:
                    return
                after = sort_key(page[-1])
                left = None if left is None else left - len(page)

    def show(self, queue_id: str, *, has_content: bool) -> Iterator[Fields]:
        """One message, in parts."""
        with _Opened(self._folder) as opened:
            yield from opened.run_rows("show", {"id": queue_id, "content": has_content})

    def change(self, change: str, what: Mapping[str, Any], **more: str) -> Fields:
        """Do it to the whole filter."""
        with _Opened(self._folder) as opened:
            request = {"change": change, "filter": dict(what), **more}
            return opened.run("bounce" if change == "bounce" else "change", request)

    def figures(self) -> Fields:
        """Counts."""
        with _Opened(self._folder) as opened:
            return opened.run("figures", {})


class _Opened:
    """The shards, open; the same answers as in a worker, in a loop of our own."""

    def __init__(self, folder: str) -> None:
        clock = RealClock()
        self._spools: list[SqliteSpool] = []
        self._runner = asyncio.Runner()
        try:
            for shard in shards(folder):
                self._spools.append(SqliteSpool.open(folder, shard, clock))
        except ShardTakenError:
            self._close()
            raise ControlError(
                "a server has the queue but does not answer (it starts or ends): try again", _TEMPORARY
            ) from None
        except BaseException:
            self._close()
            raise
        desks = [_Desk(spool) for spool in self._spools]
        self._answers = QueueAnswers(lambda: desks, clock, _NoLinkClock(), is_internet, is_logged=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for spool in self._spools:
            self._runner.run(spool.close())
        self._runner.close()

    def run(self, question: str, request: Fields) -> Fields:
        """The last word of a question."""
        answer: Fields = self._runner.run(getattr(self._answers, question)(request))
        return answer

    def run_rows(self, question: str, request: Fields) -> list[Fields]:
        """The rows of a question."""

        async def collect() -> list[Fields]:
            return [row async for row in await getattr(self._answers, question)(request)]

        return self._runner.run(collect())
