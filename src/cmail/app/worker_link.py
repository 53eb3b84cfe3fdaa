"""A worker obeys the link process: what that says holds here. Its other parts tell and ask, see below."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from cmail.app.settings import Settings
from cmail.app.worker_belief import WorkerBelief
from cmail.app.worker_confirm import WorkerConfirm
from cmail.app.worker_exchange import WorkerExchange
from cmail.app.worker_line import WorkerLine
from cmail.app.worker_reached import WorkerReached
from cmail.app.worker_sight import WorkerSight
from cmail.app.worker_waiting import WorkerWaiting
from cmail.app.worker_watched import Watcher
from cmail.link.clock import LinkReading, LinkView, parse_reading
from cmail.link.probe import PORTAL
from cmail.link.state import read_state
from cmail.net.control import AnswerFunction, ControlClient, ControlError, Fields
from cmail.net.dns_client import DnsClient
from cmail.observe import maillog, metrics
from cmail.policy.orders import Orders, parse_orders
from cmail.queue.scheduler import Scheduler


class WorkerLink:
    """One a worker."""

    def __init__(
        self,
        run_folder: str,
        name: str,
        schedulers: Callable[[], Sequence[Scheduler]],
        resolver: Callable[[], DnsClient],
        link_clock: LinkView,
    ) -> None:
        self._schedulers, self._resolver, self._link_clock = schedulers, resolver, link_clock
        self._is_trapped = False  # a log-in page stands in between
        link = partial(ControlClient, run_folder, "link")
        is_news = asyncio.Event()
        self._waiting = WorkerWaiting(schedulers)
        self.exchange = WorkerExchange(link)
        self.line = WorkerLine(name, link, schedulers)
        self.reached = WorkerReached(link, schedulers, is_news)
        self.confirm = WorkerConfirm(link, link_clock, self.reached)
        self.sight = WorkerSight(link, schedulers, link_clock, self.reached, is_news)
        belief = WorkerBelief(self.confirm, resolver)
        self.watcher = Watcher(self._needs_link, self.confirm, belief, self.reached, self.sight)

    def answers(self) -> Mapping[str, AnswerFunction]:
        """The questions of the link process."""
        return {
            "link.changed": self._changed,
            "link.lost": self._lost,
            "link.octets": _octets,
            "queue.internet": self._waiting.answer,
        }

    def turned(self) -> None:
        """The link went down or came up. Where a log-in page stood in between, nothing is remembered of what
        the DNS said: mail would go to that page once it is away."""
        was_trapped, self._is_trapped = self._is_trapped, PORTAL in self._link_clock.orders.words
        if was_trapped or self._is_trapped:
            self.reached.forget_hosts()
            self._resolver().forget()
        else:
            self._resolver().forget_failures()

    def _needs_link(self, route: str) -> bool:
        return any(scheduler.router.needs_link(route) for scheduler in self._schedulers()[:1])

    async def _changed(self, request: Fields) -> Fields:
        reading, orders = _orders_in(request)
        if request.get("is_said_again"):
            self._begin_again()
        if reading.is_down:
            self.confirm.link_is_down()
            self.reached.link_is_down()
        self._link_clock.changed(reading, orders)
        if isinstance(upstream := request.get("upstream"), dict):
            self._resolver().told(str(upstream.get("name", "")), _texts(upstream.get("addresses")))
        if request.get("begins_exchange"):
            for scheduler in self._schedulers():
                scheduler.exchange()
        return {}

    def _begin_again(self) -> None:
        """The link is up, says somebody who knows, though it was never called down: waits are over."""
        self._resolver().forget_failures()
        for scheduler in self._schedulers():
            scheduler.start_all()

    async def _lost(self, request: Fields) -> Fields:
        """Connections from these addresses end as at link-down: one that awaits the reply to its final dot
        stays, unless its address is gone. While the link is down all of them have been told already."""
        addresses, gone = (_texts(request.get(name)) for name in ("addresses", "gone"))
        first = gone if self._link_clock.is_down else addresses
        count = sum(scheduler.cut_from(first) for scheduler in self._schedulers())
        await asyncio.sleep(0)
        for scheduler in self._schedulers():
            scheduler.cut_from(gone)
        return {"connections": count}


async def _octets(_request: Fields) -> Fields:
    octets, messages = metrics.LINK_OCTETS, metrics.LINK_MESSAGES
    return {
        "messages_out": messages.of("out").value,
        "octets_out": octets.of("out").value,
        "messages_in": messages.of("in").value,
        "octets_in": octets.of("in").value,
    }


def _orders_in(request: Fields) -> tuple[LinkReading, Orders | None]:
    """What holds, and the orders where they are told too."""
    try:
        orders = parse_orders(request["orders"]) if isinstance(request.get("orders"), dict) else None
        return parse_reading(request), orders
    except ValueError as error:
        raise ControlError(str(error)) from None


def first_state(path: str, settings: Settings) -> tuple[LinkReading, Orders]:
    """How the link was, as far as nobody has told yet how it is; blocks. Where exchanges are planned none
    goes on until somebody says so."""
    reading, orders = read_state(path, maillog)
    return reading, replace(orders, is_exchange_open=not settings.exchange.is_set, is_batch_open=False)


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
