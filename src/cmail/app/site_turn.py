"""A connection that a site has turned round: lent to each shard of each worker in its turn."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cmail.app.site_turned import TurnedHere
from cmail.delivery.site_agent import SiteAgent
from cmail.delivery.turned import HANDSHAKE_ERRORS, Turn, TurnedPipe, offers_fields, parse_offers_fields
from cmail.net.control import ControlClient, ControlError, Fields
from cmail.observe import maillog
from cmail.policy.routing import SITE_PREFIX
from cmail.protocol.smtp.client_offers import Offers
from cmail.queue import sites as queue_sites
from cmail.queue.scheduler import Scheduler

SIGN_OF_LIFE_S: Final = 3.0  # a worker says so often how far it is
ASK_S: Final = 15.0
AGAIN_FOR_S: Final = 10.0  # a worker that cannot be asked is asked again
AGAIN_S: Final = 0.3
ENDING_S: Final = 5.0  # what another connection that lives does not send by then it goes on with
BEGIN_S: Final = 15.0  # a shard that has no connection to spare by then has had its turn
_slots: Final[set[int]] = set()  # numbers of the sockets that are in use in this process


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of this worker, as far as sites go."""

    scheduler: Scheduler
    agent: SiteAgent


@dataclass(slots=True)
class Progress:
    """How far a worker's turn is."""

    transactions_count: int = 0
    is_clean: bool = True


class TurnOwner:
    """Lives from our 250 to ATRN to the end of the connection; in the worker that the site came to."""

    def __init__(
        self,
        place: Any,
        names: Sequence[str],
        client: str,
        hostname: str,
        own: Callable[[Fields], Any],
        turned: TurnedHere,
    ) -> None:
        self._place = place  # app.sites.Place
        self._names = list(names)
        self._client = client
        self._hostname = hostname
        self._own = own
        self._turned = turned
        self._count = 0

    async def run(self, pipe: TurnedPipe) -> None:
        """Greet, then own shards, then those of the others, then QUIT."""
        names = ", ".join(self._names)
        try:
            offers = await pipe.shake(self._hostname)
        except HANDSHAKE_ERRORS as error:
            maillog.warned(f"site {names}: {self._client} turned its connection round: {error}")
            return
        await self._turned.make_room(self._names)
        with self._turned.hold(self._names, pipe):
            is_clean = await self._lend(pipe, offers)
        if is_clean:
            await pipe.quit()
        how = "" if is_clean else "; then the connection was lost, the rest waits for the next time"
        maillog.noted(f"site {names}: {self._count} messages over the connection that it turned round{how}")

    async def _lend(self, pipe: TurnedPipe, offers: Offers) -> bool:
        """To all shards; whether it came back clean from all."""
        slot = next(n for n in range(len(_slots) + 1) if n not in _slots)
        _slots.add(slot)
        try:
            name = f"turn-{self._place.number}-{slot}"
            await pipe.lend(self._place.run_folder, name)
            request: Fields = {
                "names": self._names,
                "socket": name,
                "offers": offers_fields(offers),
                "relay": f"{self._names[0]}[{self._client.rpartition('[')[2].rstrip(']')}]",
            }
            return await self._turns(pipe, request)
        finally:
            _slots.discard(slot)

    async def _turns(self, pipe: TurnedPipe, request: Fields) -> bool:
        """Whether the connection came back clean from all."""
        for name in (None, *self._place.others):
            is_clean = await self._turn_of(name, pipe, request)
            if not is_clean or pipe.is_over:
                return False
        return True

    async def _turn_of(self, name: str | None, pipe: TurnedPipe, request: Fields) -> bool:
        """One worker's; whether the connection came back clean. One that starts anew just now is asked again:
        the site is here, and who knows when it comes the next time."""
        until = asyncio.get_running_loop().time() + AGAIN_FOR_S
        while True:
            rows = self._own(request) if name is None else self._rows(name, request)
            borrowed, count, is_clean = pipe.borrowed_count, 0, False
            try:
                async for row in rows:
                    count = int(row.get("transactions", 0))
                    is_clean = bool(row.get("is_clean"))
            except ControlError as error:
                has_had_it = pipe.borrowed_count != borrowed
                if not (has_had_it or pipe.is_over) and asyncio.get_running_loop().time() < until:
                    await asyncio.sleep(AGAIN_S)
                    continue
                maillog.warned(f"site {self._names[0]}: {name or 'own'}: {error}")
                is_clean = not has_had_it
            self._count += count
            return is_clean

    def _rows(self, name: str, request: Fields) -> AsyncIterator[Fields]:
        return ControlClient(self._place.run_folder, name, ASK_S).rows("site.turn", request)


async def shard_turns(shards: Sequence[Shard], folder: str, request: Fields) -> AsyncIterator[Fields]:
    """The answer to site.turn: a row now and then, and when all shards of this worker have had their turn."""
    progress = Progress()
    task = asyncio.create_task(_all(shards, folder, request, progress), name="site turn")
    try:
        while True:
            done, _ = await asyncio.wait({task}, timeout=SIGN_OF_LIFE_S)
            if done:
                task.result()
                yield {"transactions": progress.transactions_count, "is_clean": progress.is_clean}
                return
            yield {"transactions": progress.transactions_count}
    finally:
        task.cancel()


async def _all(shards: Sequence[Shard], folder: str, request: Fields, progress: Progress) -> None:
    try:
        offers = parse_offers_fields(dict(request["offers"]))
        routes = [SITE_PREFIX + str(name) for name in request["names"]]
        socket, relay = str(request["socket"]), str(request["relay"])
    except (KeyError, TypeError, ValueError):
        raise ControlError("not a turn of a site", 64) from None
    for shard in shards:
        there = {summary.route for summary in await shard.scheduler.spool.routes()}
        for route in routes:
            if route not in there or not progress.is_clean:
                continue

            def is_drained(scheduler: Scheduler = shard.scheduler, name: str = route) -> bool:
                return queue_sites.is_drained(scheduler, name)

            await _one(shard, route, Turn(folder, socket, offers, relay, is_drained), progress)


async def _begins(agent: SiteAgent, route: str, turn: Turn) -> bool:
    """A connection of before that was cut a moment ago is known to be dead a moment later."""
    until = asyncio.get_running_loop().time() + ENDING_S
    while not agent.begin(route, turn):
        if asyncio.get_running_loop().time() >= until:
            return False
        await asyncio.sleep(AGAIN_S)
    return True


async def _one(shard: Shard, route: str, turn: Turn, progress: Progress) -> None:
    """One shard's turn for one site."""
    scheduler, agent = shard.scheduler, shard.agent
    if not await _begins(agent, route, turn):
        return  # another connection of the site has its turn here
    try:
        await queue_sites.begin(scheduler, route)
        queue_sites.open_one(scheduler, route)
        while not turn.over.is_set():
            try:
                await asyncio.wait_for(turn.over.wait(), BEGIN_S)
            except TimeoutError:
                if not turn.is_taken:
                    return
    finally:
        agent.end(route)
        queue_sites.end(scheduler, route)
        if turn.is_taken:
            progress.transactions_count += turn.transactions_count
            progress.is_clean = turn.is_clean
