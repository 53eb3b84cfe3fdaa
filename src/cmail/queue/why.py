"""Why a recipient waits, in words: what an operator asks first."""

from typing import TYPE_CHECKING, Final

from cmail.mail.outcome import NotNow
from cmail.mail.queue_id import QueueId
from cmail.policy.routing import HOST_PREFIX, LMTP, LOCAL, MX_PREFIX, RELAY, SITE_PREFIX, parse_host_route
from cmail.queue.admission import kept_words
from cmail.queue.route_queue import KEY_BITS, RouteQueue
from cmail.queue.words import duration
from cmail.storage.spool import CANNOT_FIT, QueueEntry, QueueFilter, RecipientState

if TYPE_CHECKING:
    from cmail.queue.scheduler import Scheduler

_TOO_LARGE: Final = (CANNOT_FIT, "is larger than what site ")  # the latter as app/site_big.py says it
_NAMES: Final = {
    LOCAL: "the mailboxes here",
    LMTP: "the LMTP server",
    RELAY: "the upstream server",
}


async def why(scheduler: "Scheduler", queue_id: QueueId, position: int) -> str | None:
    """What a recipient waits for, and what happened last; None when it does not wait."""
    what = QueueFilter(ids=(queue_id,), states=(RecipientState.QUEUED, RecipientState.HELD))
    found = await scheduler.spool.select(what, 1, (queue_id, position - 1))
    if not found or found[0].position != position:
        return None
    entry = found[0]
    return f"{_waits_for(scheduler, entry)}{_last(entry)}"


def _waits_for(scheduler: "Scheduler", entry: QueueEntry) -> str:
    """The first thing that stands in its way."""
    hop = next_hop_words(entry.route)
    route = scheduler.routes.get(entry.route)
    if entry.state is RecipientState.HELD and entry.was_too_large and entry.reason.startswith(_TOO_LARGE):
        return f"It is held: it {entry.reason}. `cmail queue release` lets it be tried all the same."
    if entry.state is RecipientState.HELD:
        return "An operator holds it; `cmail queue release` lets it go."
    early_ms = entry.hold_until_ms - scheduler.clock.wall_ms()
    if early_ms > 0:  # RFC 4865
        when = duration(early_ms / 1000)
        return f"It is sent in {when}: {entry.reason}. `cmail queue release` sends it now."
    if scheduler.spool.is_blocked:
        return "The disk is full: how an attempt ended could not be recorded, so none is begun."
    if route is not None and _is_taken(route, entry):
        return f"It is being sent to {hop} now."
    if scheduler.is_batch_held(entry.route, entry.due_ms):
        return "Mail for the Internet is batched (queue.batch); `cmail queue flush` sends it."
    if not scheduler.is_site_open(entry.route):
        return f"It waits for {hop}: it goes when that comes for its mail."
    if scheduler.router.needs_link(entry.route) and scheduler.link_clock.is_down:
        return "We are off line; it goes when the link is up. No attempt is counted until then."
    if scheduler.router.needs_link(entry.route) and (kept := _kept(scheduler, entry)):
        return f"{kept} No attempt is counted until then."
    if route is not None and route.rest_until:
        return _rests(scheduler, route, hop)
    if route is not None and route.unfound_count and route.trouble is not None:
        return f"The DNS is asked again now: {route.trouble.reason}. No attempt is counted."
    wait_ms = entry.due_ms - scheduler.attempts.now_ms(entry.route)
    if wait_ms > 0:
        return f"It is tried again in {duration(wait_ms / 1000)}."
    if (entry.queue_id << KEY_BITS | entry.position) in scheduler.active:
        return f"It is next for {hop}, as soon as a connection is free."
    return f"It waits for its turn at {hop}."


def _kept(scheduler: "Scheduler", entry: QueueEntry) -> str:
    orders = scheduler.admission.orders
    return kept_words(orders, entry.size_bytes, entry.rank, entry.was_too_large)


def _is_taken(route: RouteQueue, entry: QueueEntry) -> bool:
    return any(
        transaction.message.queue_id == entry.queue_id
        and any(queued.position == entry.position for queued in transaction.recipients)
        for lane in route.lanes
        for transaction in lane.taken
    )


def _rests(scheduler: "Scheduler", route: RouteQueue, hop: str) -> str:
    wait = duration(max(1.0, route.rest_until - scheduler.clock.monotonic()))
    reason = f": {route.trouble.reason}" if route.trouble is not None else ""
    if route.trouble is not None and route.trouble.kind is NotNow.OFFLINE:
        return f"We seem to be off line{reason}. We look again in {wait}; no attempt is counted."
    if route.trouble is not None and route.unfound_count:
        return f"The DNS is asked again in {wait}{reason}. No attempt is counted."
    return f"Nothing is sent to {hop} for another {wait}{reason}."


def _last(entry: QueueEntry) -> str:
    if not entry.attempts:
        return ""
    tries = f"{entry.attempts} attempt{'s' * (entry.attempts != 1)}"
    return f" So far: {tries}; the last: {entry.reason}" if entry.reason else f" So far: {tries}."


def next_hop_words(route: str) -> str:
    """A route in words."""
    if route.startswith(MX_PREFIX):
        return f"the mail servers of {route[len(MX_PREFIX) :]}"
    if route.startswith(HOST_PREFIX):
        return f"{parse_host_route(route)[0]}, where its domain is forwarded to"
    if route.startswith(SITE_PREFIX):
        return f"the site {route[len(SITE_PREFIX) :]}"
    return _NAMES.get(route, route)
