"""How an attempt ended -> what the spool is told, in one commit with what it owes (reports, aliases)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, assert_never

from cmail.mail.address import Address
from cmail.mail.dsn import Action
from cmail.mail.envelope import Notify
from cmail.mail.outcome import (
    Delivered,
    Expanded,
    NotNow,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
)
from cmail.mail.status import EXPIRED
from cmail.policy import retry
from cmail.policy.retry import Age, GiveUp, RetryAfter
from cmail.policy.routing import LMTP, LOCAL, SITE_PREFIX
from cmail.queue.admission import Admission
from cmail.queue.router import Router
from cmail.queue.settings import QueueSettings
from cmail.storage.spool import Deferral, QueuedMessage, QueuedRecipient, RecipientState
from cmail.storage.spool import Final as Ended
from cmail.world import Clock, LinkClock

SERVICES: Final = {LOCAL: "local", LMTP: "lmtp"}  # as the log calls them; else smtp
TOGETHER_MS: Final = 100  # the clock goes on while many recipients of one transaction are put off
REASON_MAX: Final = 1000  # of what a peer said, in the spool: a screen full is enough
Delays = tuple[float, float, float, float]


class MailLog(Protocol):
    """What of observe.maillog is called here; the module is one."""

    def attempted(
        self,
        queue_id: int,
        forward_path: Address | str,
        *,
        outcome: Outcome,
        delay_s: float,
        delays: Delays = (0, 0, 0, 0),
        original_to: Address | str = "",
        service: str = "smtp",
    ) -> None: ...
    def expired(self, queue_id: int, reverse_path: str, forward_path: Address | str = "") -> None: ...
    def removed(self, queue_id: int) -> None: ...
    def reported(self, queue_id: int, kind: str, report_id: int) -> None: ...
    def noted(self, text: str) -> None: ...
    def warned(self, text: str) -> None: ...
    def failed(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Tell:
    """One line of a report: what its sender is to be told of a recipient."""

    action: Action
    queued: QueuedRecipient
    outcome: Outcome
    will_retry_until_ms: int = 0  # wall


@dataclass(slots=True)
class Conclusion:
    """What an attempt changes for one message."""

    finals: list[Ended] = field(default_factory=list)
    deferrals: list[Deferral] = field(default_factory=list)
    added: list[QueuedRecipient] = field(default_factory=list)
    tells: list[Tell] = field(default_factory=list)
    untried: list[QueuedRecipient] = field(default_factory=list)  # off line: nothing is counted
    delivered_count: int = 0


@dataclass(slots=True)
class Attempts:
    """Turns outcomes into conclusions and log lines. Settings and router may be replaced."""

    settings: QueueSettings
    router: Router
    clock: Clock
    link_clock: LinkClock
    log: MailLog
    jitter: Callable[[], float]
    admission: Admission

    def now_ms(self, route: str) -> int:
        """Now on the clock of a route."""
        return self.link_clock.link_ms() if self.router.needs_link(route) else self.clock.wall_ms()

    def age(self, message: QueuedMessage, route: str) -> Age:
        """How old a message is for a route. By the wall clock alone it would be given up when somebody
        sets that forward, or never when back; link-up time has certainly passed. For a route that does
        not need the link the time counts that it has been down now, too."""
        held_ms = max(0, message.envelope.hold_until_ms - message.arrived_wall_ms)  # not to be sent: no age
        link = max(0, self.link_clock.link_ms() - message.arrived_link_ms - held_ms)
        wall = max(self.clock.wall_ms() - message.arrived_wall_ms - held_ms, link)
        if route.startswith(SITE_PREFIX):
            return Age(wall, 0)  # nobody knows how long the site was there: its attempts are its chances
        if self.router.needs_link(route):
            return Age(wall, min(link, self.admission.admitted_ms(message)))
        return Age(wall, min(wall, link + self.link_clock.down_for_ms))

    def left_ms(self, message: QueuedMessage) -> int:
        """How much is left of the time of a message that has a deadline (RFC 2852); it may be below 0, and is
        no more than its sender said: while it was held for him (RFC 4865) we may have been off line."""
        envelope = message.envelope
        left_ms = envelope.deliver_by_ms - self.link_clock.link_ms()
        held_ms = envelope.hold_until_ms - message.arrived_wall_ms
        if held_ms <= 0:
            return left_ms
        return min(left_ms, envelope.deliver_by_ms - message.arrived_link_ms - held_ms)

    def must_return(self, message: QueuedMessage) -> bool:
        """Whether its deadline is over, and its sender wants it back then."""
        envelope = message.envelope
        return bool(envelope.deliver_by_ms) and envelope.is_returned_late and self.left_ms(message) <= 0

    def is_late(self, message: QueuedMessage) -> bool:
        """Whether its deadline is over, and its sender wants it back or to be told then."""
        is_over = bool(message.envelope.deliver_by_ms) and self.left_ms(message) <= 0
        return is_over and (message.envelope.is_returned_late or self._is_told_late(message))

    def conclude(
        self,
        message: QueuedMessage,
        recipients: Iterable[QueuedRecipient],
        outcomes: Mapping[int, Outcome],
        *,
        setup_s: float = 0.0,
        sending_s: float = 0.0,
        host_wait_ms: int = 0,
    ) -> Conclusion:
        """What the outcomes of one transaction mean. `host_wait_ms`: the back-off of its next hop,
        0 when the next hop works (then HOST trouble is this message's own)."""
        end = Conclusion()
        chance = self.jitter()  # one for all: who was put off together comes back in one transaction
        for queued in recipients:
            outcome = outcomes[queued.position]
            match outcome:
                case Delivered():
                    self._delivered(end, message, queued, outcome)
                case Expanded():
                    self._expanded(end, queued, outcome)
                case PermanentFailure():
                    self._failed(end, queued, outcome)
                case TemporaryFailure(kind=NotNow.OFFLINE):
                    end.untried.append(queued)
                    continue
                case TemporaryFailure():
                    self._deferred(end, message, queued, outcome, host_wait_ms, chance)
                case _:
                    assert_never(outcome)
            self.say(message, queued, outcome, setup_s, sending_s)
        return end

    def say(
        self,
        message: QueuedMessage,
        queued: QueuedRecipient,
        outcome: Outcome,
        setup_s: float,
        sending_s: float,
    ) -> None:
        """The log line of one recipient. delays: before the queue (we count from the dot: 0), in the
        queue, connecting, sending."""
        delay_s = max(0.0, (self.clock.wall_ms() - message.arrived_wall_ms) / 1000, sending_s)
        self.log.attempted(
            message.queue_id,
            queued.recipient.forward_path,
            outcome=outcome,
            delay_s=delay_s,
            delays=(0.0, max(0.0, delay_s - setup_s - sending_s), setup_s, sending_s),
            original_to=queued.recipient.orcpt.partition(";")[2] if queued.alias_depth else "",
            service=SERVICES.get(queued.route, "smtp"),
        )

    def _delivered(
        self, end: Conclusion, message: QueuedMessage, queued: QueuedRecipient, outcome: Delivered
    ) -> None:
        end.delivered_count += 1
        end.finals.append(Ended(queued.position, RecipientState.DELIVERED))
        is_asked = queued.recipient.notify & Notify.SUCCESS and not outcome.is_dsn_passed_on
        if is_asked or _is_relay_told(message, queued, outcome):
            action = Action.DELIVERED if outcome.is_local else Action.RELAYED
            end.tells.append(Tell(action, queued, outcome))

    def _expanded(self, end: Conclusion, queued: QueuedRecipient, outcome: Expanded) -> None:
        there = {other.recipient.forward_path for other in end.added}
        added = self.router.stand_ins(queued, outcome)
        end.added += [new for new in added if new.recipient.forward_path not in there]
        end.finals.append(Ended(queued.position, RecipientState.DELIVERED))
        if len(outcome.targets) != 1 and queued.recipient.notify & Notify.SUCCESS:
            end.tells.append(Tell(Action.EXPANDED, queued, outcome))

    def _failed(self, end: Conclusion, queued: QueuedRecipient, outcome: PermanentFailure) -> None:
        end.finals.append(Ended(queued.position, RecipientState.FAILED, outcome.reason[:REASON_MAX]))
        if wants(queued, Notify.FAILURE):
            end.tells.append(Tell(Action.FAILED, queued, outcome))

    def _deferred(
        self,
        end: Conclusion,
        message: QueuedMessage,
        queued: QueuedRecipient,
        outcome: TemporaryFailure,
        host_wait_ms: int,
        chance: float,
    ) -> None:
        tried = self.count_attempt(queued)
        if self.must_return(message):
            self.expire(end, message, tried, outcome)
            return
        age = self.age(message, queued.route)
        decision = retry.decide(tried.attempts, age, tried.periods, self.settings, chance)
        match decision:
            case GiveUp():
                self.expire(end, message, tried, outcome)
            case RetryAfter(wait_ms):
                is_host = outcome.kind is NotNow.HOST and host_wait_ms > 0
                due_ms = self.now_ms(queued.route) + (host_wait_ms if is_host else wait_ms)
                if end.deferrals and 0 <= due_ms - end.deferrals[-1].due_ms < TOGETHER_MS:
                    due_ms = end.deferrals[-1].due_ms
                kind = NotNow.HOST if is_host else NotNow.MESSAGE
                self.put_off(end, message, tried, outcome, due_ms, kind)

    def count_attempt(self, queued: QueuedRecipient) -> QueuedRecipient:
        """The recipient after one attempt more, in this link-up period."""
        period = self.admission.period
        is_new = queued.last_period != period or queued.route.startswith(SITE_PREFIX)
        return replace(
            queued,
            attempts=queued.attempts + 1,
            periods=queued.periods + is_new,
            last_period=period,
        )

    def expire(
        self, end: Conclusion, message: QueuedMessage, queued: QueuedRecipient, last: TemporaryFailure
    ) -> None:
        """Give a recipient up; its sender reads the last reason."""
        when = "by the time that its sender had set" if self.must_return(message) else "in time"
        reason = f"not delivered {when}; the last attempt: {last.reason}"[:REASON_MAX]
        end.finals.append(Ended(queued.position, RecipientState.EXPIRED, reason))
        if wants(queued, Notify.FAILURE):
            end.tells.append(Tell(Action.FAILED, queued, last))
        self.log.expired(message.queue_id, message.envelope.reverse_path_text, queued.recipient.forward_path)

    def put_off(
        self,
        end: Conclusion,
        message: QueuedMessage,
        queued: QueuedRecipient,
        last: TemporaryFailure,
        due_ms: int,
        kind: NotNow,
    ) -> None:
        """Try a recipient again at due_ms; tell its sender of the delay when it is time, once."""
        is_told = queued.is_delay_told
        if not is_told and self.is_delay_due(message, queued):
            is_told = True
            if wants(queued, Notify.DELAY):
                # RFC 3463 §3.5: its time has expired (4.4.7), whatever the last attempt met.
                told = replace(last, detail=EXPIRED) if self._is_told_late(message) else last
                end.tells.append(Tell(Action.DELAYED, queued, told, self.lifetime_end_ms(message)))
        reason = last.reason[:REASON_MAX]
        end.deferrals.append(
            Deferral(
                queued.position,
                due_ms,
                queued.attempts,
                queued.periods,
                queued.last_period,
                kind,
                reason,
                is_told,
            )
        )

    def is_delay_due(self, message: QueuedMessage, queued: QueuedRecipient) -> bool:
        """Whether its sender ought to know by now that it is late: he may have said when (RFC 2852). What
        came late already was told by who had it then."""
        if self._is_told_late(message):
            return self.left_ms(message) <= 0
        age = self.age(message, queued.route)
        return retry.is_delay_due(queued.attempts, age, queued.periods, self.settings)

    def _is_told_late(self, message: QueuedMessage) -> bool:
        """Whether its sender said when he wants to know that it is late, and that time was not over yet."""
        envelope = message.envelope
        return envelope.deliver_by_ms > message.arrived_link_ms and not envelope.is_returned_late

    def has_expired(self, message: QueuedMessage, queued: QueuedRecipient) -> bool:
        """Whether it is to be given up."""
        if self.must_return(message):
            return True
        age = self.age(message, queued.route)
        return retry.has_expired(queued.attempts, age, queued.periods, self.settings)

    def lifetime_end_ms(self, message: QueuedMessage) -> int:
        """Until when it is tried at least, by the wall clock."""
        began_ms = max(message.arrived_wall_ms, message.envelope.hold_until_ms)
        return began_ms + int(self.settings.lifetime.total_seconds() * 1000)


def wants(queued: QueuedRecipient, what: Notify) -> bool:
    """Whether its sender wants to be told of a failure or a delay (RFC 3461 §4.1)."""
    notify = queued.recipient.notify
    return notify == Notify.UNSPECIFIED or bool(notify & what)


def _is_relay_told(message: QueuedMessage, queued: QueuedRecipient, outcome: Delivered) -> bool:
    """RFC 2852 §4.1.4: who asked for a trace hears of each host that we gave it to; who wants to be told
    when it is late (N) hears of one that knows of no deadline, because nobody tells him behind that."""
    envelope = message.envelope
    return (
        bool(envelope.by_mode)
        and (envelope.is_traced or not outcome.is_by_passed_on)
        and not outcome.is_local
        and not queued.recipient.notify & Notify.NEVER
    )
