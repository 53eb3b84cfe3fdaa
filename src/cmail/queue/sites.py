"""Routes to sites that come and go: what a shard does when one comes, and when it has gone again."""

from typing import TYPE_CHECKING

from cmail.mail.outcome import NotNow

if TYPE_CHECKING:
    from cmail.queue.scheduler import Scheduler


async def begin(scheduler: "Scheduler", name: str) -> None:
    """The site of a route is there: all that waits for it is due, whatever was wrong before."""
    await scheduler.connections.wake(name, (NotNow.HOST, NotNow.MESSAGE))
    route = scheduler.route(name)
    route.trusted()
    scheduler.connections.end_rest(route)


async def end_dead(scheduler: "Scheduler", name: str) -> None:
    """The site of a route has come: what its last visit left of connections must not keep mail from it."""
    route = scheduler.routes.get(name)
    if route is not None:
        await scheduler.connections.end_dead(route)


def end(scheduler: "Scheduler", name: str) -> None:
    """It does not count as there any more: what is in memory is left to the disk."""
    route = scheduler.routes.get(name)
    if route is None:
        return
    route.gate.judge()
    if not route.is_open:
        route.drop_ready()


def is_drained(scheduler: "Scheduler", name: str) -> bool:
    """Whether nothing is left that may go now, neither in memory nor on the disk."""
    route = scheduler.routes.get(name)
    return route is None or not (route.ready or route.has_more or route.reading.under_way is not None)


def open_one(scheduler: "Scheduler", name: str) -> bool:
    """A connection now, whether or not something is in memory yet; False: there are too many."""
    return scheduler.route(name).opening.open_one()
