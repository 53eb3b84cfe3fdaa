"""Counters and gauges, declared in one table; plain integers, for one process each.

A part adds to `COUNTER.value` and nothing else happens: 30 ns. Who wants to know takes snapshots of all
processes and adds them up (`total`)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

Snapshot = dict[str, dict[str, int]]  # name -> value of the label ("" without one) -> number


@dataclass(slots=True, eq=False)
class Number:
    """One figure. Counters only grow; a gauge may be set."""

    value: int = 0


@dataclass(slots=True, eq=False)
class Metric:
    """A name, a sentence, and a Number for each value of its label."""

    name: str
    help: str
    label: str = ""
    is_gauge: bool = False
    is_same_everywhere: bool = False  # every process tells the same: the largest counts, not the sum
    numbers: dict[str, Number] = field(default_factory=dict)

    def of(self, label_value: str) -> Number:
        """The Number of one value of the label. Values come from the code, never from a peer, so
        there are few of them."""
        number = self.numbers.get(label_value)
        if number is None:
            number = self.numbers[label_value] = Number()
        return number


METRICS: Final[dict[str, Metric]] = {}


def _counter(name: str, sentence: str) -> Number:
    metric = METRICS[name] = Metric(name, sentence)
    return metric.of("")


def _counters(name: str, label: str, sentence: str) -> Metric:
    metric = METRICS[name] = Metric(name, sentence, label)
    return metric


def _gauge(name: str, sentence: str, *, is_same_everywhere: bool = False) -> Number:
    metric = METRICS[name] = Metric(name, sentence, "", True, is_same_everywhere)
    return metric.of("")


def _gauges(name: str, label: str, sentence: str) -> Metric:
    metric = METRICS[name] = Metric(name, sentence, label, True)
    return metric


# Intake
SESSIONS: Final = _counters("cmail_sessions_total", "service", "Sessions begun.")
SESSIONS_OPEN: Final = _gauges("cmail_sessions_open", "service", "Sessions open now.")
MESSAGES_ACCEPTED: Final = _counter(
    "cmail_messages_accepted_total", "Messages that became durable (250 was said)."
)
RECIPIENTS_ACCEPTED: Final = _counter("cmail_recipients_accepted_total", "Recipients of accepted messages.")
OCTETS_ACCEPTED: Final = _counter("cmail_octets_accepted_total", "Octets of accepted messages.")
REFUSALS: Final = _counters("cmail_refusals_total", "stage", "Connections, commands and messages refused.")
VALIDATION_REFUSED: Final = _counters(
    "cmail_validation_refused_total",
    "rule",
    "Messages that Validation refused, by the first rule they broke.",
)
VALIDATION_NOTED: Final = _counters(
    "cmail_validation_noted_total", "rule", "Messages that passed, by what Validation noted of them."
)
LOGINS_FAILED: Final = _counters("cmail_logins_failed_total", "service", "Log-ins that failed.")
LOGINS_PUT_OFF: Final = _counters(
    "cmail_logins_put_off_total", "service", "Log-ins not looked at: too many failed or waited."
)

# Outgo
RECIPIENTS_DELIVERED: Final = _counters(
    "cmail_recipients_delivered_total", "via", "Recipients delivered: smtp, lmtp or local."
)
RECIPIENTS_EXPANDED: Final = _counter("cmail_recipients_expanded_total", "Recipients that were aliases.")
RECIPIENTS_DEFERRED: Final = _counters(
    "cmail_recipients_deferred_total", "kind", "Attempts put off: offline, host or message."
)
RECIPIENTS_BOUNCED: Final = _counter("cmail_recipients_bounced_total", "Recipients that failed.")
RECIPIENTS_EXPIRED: Final = _counter(
    "cmail_recipients_expired_total", "Recipients given up after the queue lifetime."
)
REPORTS: Final = _counters("cmail_reports_total", "kind", "Reports sent: failed, delayed or delivered.")

# Spool
SPOOL_COMMITS: Final = _counter("cmail_spool_commits_total", "Commits, each with one sync.")
SPOOL_CHANGES: Final = _counter(
    "cmail_spool_changes_total", "Changes committed; by commits: how many share a sync."
)
SPOOL_SYNC_MICROSECONDS: Final = _counter("cmail_spool_sync_microseconds_total", "Time spent in commits.")
SPOOL_FAILURES: Final = _counter("cmail_spool_failures_total", "Commits that failed.")
QUEUE_RECIPIENTS: Final = _gauges(
    "cmail_queue_recipients", "state", "Recipients in the queue: queued or held."
)
QUEUE_MESSAGES: Final = _gauge("cmail_queue_messages", "Messages in the queue.")

# The link, the log
LINK_UP: Final = _gauge(
    "cmail_link_up", "1 when mail for the Internet can go, else 0.", is_same_everywhere=True
)
LINK_OCTETS: Final = _counters(
    "cmail_link_octets_total", "direction", "Octets of sessions with hosts on the Internet, out and in."
)
LINK_MESSAGES: Final = _counters(
    "cmail_link_messages_total", "direction", "Messages sent to hosts on the Internet, and taken from them."
)
LOG_LINES_LOST: Final = _counter("cmail_log_lines_lost_total", "Log lines lost because nobody took them.")


def snapshot() -> Snapshot:
    """All figures of this process, ready for JSON."""
    return {
        metric.name: {value: number.value for value, number in metric.numbers.items()}
        for metric in METRICS.values()
    }


def total(snapshots: Iterable[Mapping[str, Mapping[str, int]]]) -> Snapshot:
    """The figures of all processes together. What this program does not know is left out."""
    found: Snapshot = {name: {} for name in METRICS}
    for one in snapshots:
        for name, numbers in one.items():
            metric = METRICS.get(name)
            if metric is not None:
                _add(found[name], numbers, metric.is_same_everywhere)
    return found


def _add(to: dict[str, int], numbers: Mapping[str, int], is_same_everywhere: bool) -> None:
    for value, number in numbers.items():
        to[value] = max(to.get(value, 0), number) if is_same_everywhere else to.get(value, 0) + number


def forget() -> None:
    """Everything back to nothing: in a process that was just forked."""
    for number in _all():
        number.value = 0


def _all() -> Iterator[Number]:
    for metric in METRICS.values():
        yield from metric.numbers.values()
