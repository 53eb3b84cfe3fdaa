"""A scheduler with everything around it that it needs: spool in memory, fake agents, a clock to turn."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from cmail.admin.why import explain
from cmail.admin.worker import queue_answers
from cmail.delivery.settings import SmtpSettings
from cmail.mail.address import parse_address
from cmail.mail.content import from_plain
from cmail.mail.envelope import Envelope, Notify, Recipient
from cmail.mail.outcome import Outcome
from cmail.mail.queue_id import QueueId, print_queue_id
from cmail.policy.orders import Orders
from cmail.policy.rewriting import Directory
from cmail.policy.routing import RoutingTable
from cmail.queue.router import Router
from cmail.queue.scheduler import Scheduler
from cmail.queue.settings import QueueSettings
from cmail.storage.spool import NewMessage
from tests.support.clock import FakeClock
from tests.support.fake_agent import FakeAgent
from tests.support.memory_spool import MemorySpool

LETTER = b"From: <anna@example.org>\nTo: <bob@example.net>\nSubject: hello\n\nHow are you?\n"


@dataclass
class LogBook:
    """A MailLog that keeps what it is told."""

    attempts: list[tuple[int, str, Outcome]] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    reports: list[tuple[int, str]] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    delays: list[tuple[float, tuple[float, float, float, float]]] = field(default_factory=list)
    original_to: list[str] = field(default_factory=list)

    def attempted(
        self,
        queue_id: int,
        forward_path: object,
        *,
        outcome: Outcome,
        delay_s: float,
        delays: tuple[float, float, float, float] = (0, 0, 0, 0),
        original_to: object = "",
        service: str = "smtp",
    ) -> None:
        self.attempts.append((queue_id, str(forward_path), outcome))
        self.delays.append((delay_s, delays))
        self.original_to.append(str(original_to))

    def expired(self, queue_id: int, reverse_path: str, forward_path: object = "") -> None:
        self.given_up.append(queue_id)

    def removed(self, queue_id: int) -> None:
        self.gone.append(queue_id)

    def reported(self, queue_id: int, kind: str, report_id: int) -> None:
        self.reports.append((queue_id, kind))

    def noted(self, text: str) -> None:
        self.texts.append(text)

    def warned(self, text: str) -> None:
        self.texts.append(text)

    def failed(self, text: str) -> None:
        import traceback

        self.texts.append(f"{text}\n{traceback.format_exc()}")
        raise AssertionError(self.texts[-1])


class House:
    """One shard's outgo. Routes: local for example.org, relay for all else (mx when asked)."""

    def __init__(
        self,
        *,
        settings: QueueSettings | None = None,
        delivery: str = "smarthost",
        host: str = "smtp.isp.example",
        aliases: dict[str, tuple[str, ...]] | None = None,
        connections: int = 4,
        spool: MemorySpool | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.spool = spool or MemorySpool(clock=self.clock)
        self.log = LogBook()
        self.smtp, self.local = FakeAgent(), FakeAgent()
        self.settings = settings or QueueSettings()
        self.table = RoutingTable(
            "mail.example.org",
            frozenset({"example.org"}),
            "maildir",
            delivery,  # type: ignore[arg-type]
        )
        directory = Directory(
            frozenset({"anna@example.org", "you@example.org"}), aliases or {}, domains=("example.org",)
        )
        self.router = Router(self.table, directory, SmtpSettings(host=host))
        self.scheduler = Scheduler(
            self.spool,
            {"local": self.local, "relay": self.smtp, "mx": self.smtp},
            self.router,
            self.settings,
            self.clock,
            self.clock,
            lambda route: connections,
            self.log,
            hostname="mail.example.org",
            jitter=lambda: 0.5,
        )

    def message(
        self,
        *to: str,
        sender: str = "anna@example.org",
        notify: Notify = Notify.UNSPECIFIED,
        plain: bytes = LETTER,
        size: int = 0,
        **envelope: Any,
    ) -> NewMessage:
        """A message that wants to be accepted; `size`: that it says it has."""
        content = from_plain(plain)
        recipients = tuple(Recipient(parse_address(a.encode()), notify=notify) for a in to)
        return NewMessage(
            self.spool.new_queue_id(),
            Envelope(parse_address(sender.encode()) if sender else None, recipients, **envelope),
            replace(content, size_bytes=size or content.size_bytes),
            tuple(self.table.route(r.forward_path) for r in recipients),
            self.clock.wall_ms(),
            self.clock.link_ms(),
        )

    async def send(self, *to: str, **more: Any) -> QueueId:
        """Accept a message as intake does."""
        message = self.message(*to, **more)
        await self.spool.accept(message)
        return message.queue_id

    def order(self, orders: Orders) -> None:
        """The link process says that other orders hold."""
        self.clock.set_orders(orders)
        self.scheduler.link_changed()

    def link(self, *, is_up: bool) -> None:
        """The link goes up or down."""
        (self.clock.link_up if is_up else self.clock.link_down)()
        self.scheduler.link_changed()

    async def until(self, condition: Callable[[], object], turns: int = 3000) -> None:
        """Let the loop turn until something holds."""
        for turn in range(turns):
            if condition():
                return
            await asyncio.sleep(0 if turn % 4 else 0.0005)
        raise AssertionError("it never happened")

    async def settle_down(self) -> None:
        """Let everything happen that happens without time passing."""
        for turn in range(30):
            await asyncio.sleep(0 if turn % 8 else 0.0006)

    async def pass_time(self, seconds: float = 0, **units: float) -> None:
        """Let time pass, and what is due then happen."""
        self.clock.advance(seconds + timedelta(**units).total_seconds())
        self.scheduler.lookout.look()
        await self.settle_down()

    async def why(self, queue_id: QueueId, position: int) -> str:
        """What `cmail queue why` says of one that waits."""
        answers = queue_answers(lambda: [self.scheduler], self.clock, self.clock)
        listed: Any = await answers["queue.list"]({"filter": {"ids": [print_queue_id(queue_id)]}})
        rows = [row async for row in listed if row["position"] == position]
        if not rows:
            return "it is not there"
        told = explain(
            rows[0],
            self.clock.wall_ms(),
            is_link_down=self.clock.is_down,
            is_batch=self.scheduler.is_batched,
        )
        return f"{told.why} {told.advice}"

    def waiting(self) -> list[str]:
        """Who is in the spool still."""
        return [
            row.queued.recipient.forward_path.text
            for message in self.spool._messages.values()
            for row in message.waiting
        ]


def run(test: Callable[[House], Coroutine[Any, Any, None]], **more: Any) -> House:
    """Run a test in a house that is started before it and stopped after it."""

    async def whole() -> House:
        house = House(**more)
        house.scheduler.start()
        await house.settle_down()
        await test(house)
        await house.scheduler.stop(0.2)
        return house

    return asyncio.run(whole())
