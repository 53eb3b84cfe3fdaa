"""One function per event of a message's life; the field names of the log are its signatures.

The lines are Postfix's, with `cmail/` for the name of the program, so that what reads its logs (reports,
fail2ban) reads ours; or JSON, one object a line. Each function counts its event in observe/metrics too, so
nobody else has to; log_file opens what they write to. Addresses in lines come from peers: nothing in a value
can end or begin a line (rule 17).
`client` is `host[address]` as text, see client_text()."""

import functools
import sys
import traceback
from collections import deque
from collections.abc import Mapping
from typing import Final

from cmail.mail.address import Address
from cmail.mail.outcome import (
    Delivered,
    Expanded,
    NotNow,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
)
from cmail.mail.queue_id import print_queue_id
from cmail.mail.reply import Reply
from cmail.mail.status import UNDEFINED
from cmail.observe import metrics
from cmail.observe.lines import print_delay, print_delays
from cmail.observe.output import output as _to
from cmail.observe.sink import printing

_id: Final = functools.lru_cache(maxsize=2048)(print_queue_id)  # its lines come close together
_KINDS: Final = {NotNow.OFFLINE: "offline", NotNow.HOST: "host", NotNow.MESSAGE: "message"}
_REPORTS: Final = {
    "failed": "non-delivery notification",
    "delayed": "delay notification",
    "delivered": "delivery status notification",
}

# The last attempts of this process, for who asks right after (`cmail send-test`, `cmail queue why`).
RECENT_MAX: Final = 1000
recent: Final[deque[tuple[int, Address | str, Outcome]]] = deque(maxlen=RECENT_MAX)
_remember: Final = recent.append


def client_text(host: str, address: str) -> str:
    """host[address]; a client without a name is `unknown`."""
    return printing(f"{host or 'unknown'}[{address}]")


# Sessions


def connected(service: str, client: str) -> None:
    """A session has begun."""
    metrics.SESSIONS.of(service).value += 1
    metrics.SESSIONS_OPEN.of(service).value += 1
    if _to.lines.is_json:
        _to.sink.put(_to.lines.event("connected", service=service, client=client))
    else:
        _to.sink.put(f"{_to.lines.prefix(service)}connect from {client}")


def disconnected(service: str, client: str, counts: Mapping[str, int]) -> None:
    """A session has ended; what was said in it, by command."""
    metrics.SESSIONS_OPEN.of(service).value -= 1
    if _to.lines.is_json:
        _to.sink.put(_to.lines.event("disconnected", service=service, client=client, **counts))
        return
    said = "".join([f" {command}={count}" for command, count in counts.items()])
    total = sum(counts.values())
    _to.sink.put(f"{_to.lines.prefix(service)}disconnect from {client}{said} commands={total}")


def accepted(
    queue_id: int,
    *,
    client: str,
    helo: str,
    protocol: str,
    message_id: str,
    reverse_path: str,
    size_bytes: int,
    recipients_count: int,
    sasl_method: str = "",
    sasl_username: str = "",
    tls: str = "",
    service: str = "smtpd",
) -> None:
    """A message is durable. `message_id` with its angle brackets, as it stands in the field."""
    metrics.MESSAGES_ACCEPTED.value += 1
    metrics.RECIPIENTS_ACCEPTED.value += recipients_count
    metrics.OCTETS_ACCEPTED.value += size_bytes
    name = _id(queue_id)
    if _to.lines.is_json:
        _to.sink.put(
            _to.lines.event(
                "accepted",
                queue_id=name,
                service=service,
                client=client,
                helo=helo,
                protocol=protocol,
                message_id=message_id,
                reverse_path=reverse_path,
                size_bytes=size_bytes,
                recipients_count=recipients_count,
                sasl_method=sasl_method,
                sasl_username=sasl_username,
                tls=tls,
            )
        )
        return
    sasl = f", sasl_method={sasl_method}, sasl_username={sasl_username}" if sasl_method else ""
    with_tls = f", tls={tls}" if tls else ""
    put = _to.sink.put
    prefix = _to.lines.prefix
    put(f"{prefix(service)}{name}: client={client}{sasl}, proto={protocol}, helo=<{helo}>{with_tls}")
    put(f"{prefix('cleanup')}{name}: message-id={message_id}")
    put(
        f"{prefix('qmgr')}{name}: from=<{reverse_path}>, size={size_bytes},"
        f" nrcpt={recipients_count} (queue active)"
    )


def refused(
    service: str,
    client: str,
    *,
    stage: str,
    reply: Reply,
    reverse_path: str | None = None,
    forward_path: str | None = None,
    protocol: str = "",
    helo: str = "",
) -> None:
    """A connection, a command or a message was refused. `stage`: CONNECT, MAIL, RCPT, DATA,
    END-OF-MESSAGE..., as words of the code. A path that is not known yet is None, <> is ""."""
    metrics.REFUSALS.of(stage).value += 1
    if _to.lines.is_json:
        _to.sink.put(
            _to.lines.event(
                "refused",
                service=service,
                client=client,
                stage=stage,
                reply=str(reply),
                reverse_path=reverse_path,
                forward_path=forward_path,
                protocol=protocol,
                helo=helo,
            )
        )
        return
    known = (
        f"from=<{reverse_path}>" if reverse_path is not None else "",
        f"to=<{forward_path}>" if forward_path is not None else "",
        f"proto={protocol}" if protocol else "",
        f"helo=<{helo}>" if helo else "",
    )
    rest = " ".join(filter(None, known))
    text = f"NOQUEUE: reject: {stage} from {client}: {reply}{'; ' if rest else ''}{rest}"
    _to.sink.put(f"{_to.lines.prefix(service)}{text}")


def too_many_errors(service: str, client: str, *, stage: str) -> None:
    """A session was ended for its errors; `stage` is the last command."""
    metrics.REFUSALS.of("ERRORS").value += 1
    if _to.lines.is_json:
        _to.sink.put(_to.lines.event("too_many_errors", service=service, client=client, stage=stage))
    else:
        _to.sink.put(f"{_to.lines.prefix(service)}too many errors after {stage} from {client}")


def login_failed(
    service: str, client: str, *, mechanism: str, username: str, reason: str = "authentication failure"
) -> None:
    """A log-in failed. Never the password, and not whether the name exists."""
    metrics.LOGINS_FAILED.of(service).value += 1
    _log_in("login_failed", "authentication failed", service, client, mechanism, username, reason)


def login_put_off(service: str, client: str, *, mechanism: str, username: str, reason: str) -> None:
    """A log-in was not looked at: too many failed, or too many wait. Not a line that locks anybody out."""
    metrics.LOGINS_PUT_OFF.of(service).value += 1
    _log_in("login_put_off", "log-in put off", service, client, mechanism, username, reason)


def _log_in(
    event: str, what: str, service: str, client: str, mechanism: str, username: str, reason: str
) -> None:
    if _to.lines.is_json:
        _to.sink.put(
            _to.lines.event(
                event,
                service=service,
                client=client,
                mechanism=mechanism,
                username=username,
                reason=reason,
            )
        )
        return
    whose = f", sasl_username={username}" if username else ""
    _to.sink.put(f"{_to.lines.prefix(service)}warning: {client}: SASL {mechanism} {what}: {reason}{whose}")


# Attempts


def attempted(
    queue_id: int,
    forward_path: Address | str,
    *,
    outcome: Outcome,
    delay_s: float,
    delays: tuple[float, float, float, float] = (0, 0, 0, 0),
    original_to: Address | str = "",
    service: str = "smtp",
) -> None:
    """An attempt ended for one recipient. `delays`: before the queue manager, in the queue, setting
    up the connection, transmission. `service`: smtp or lmtp; what is delivered here is `local`."""
    _remember((queue_id, forward_path, outcome))
    if type(outcome) is Delivered:
        service = "local" if outcome.is_local else service
        metrics.RECIPIENTS_DELIVERED.of(service).value += 1
        number, status, text = "2", "sent", outcome.reply
    elif type(outcome) is TemporaryFailure:
        metrics.RECIPIENTS_DEFERRED.of(_KINDS[outcome.kind]).value += 1
        number, status, text = "4", "deferred", outcome.reason
    elif type(outcome) is PermanentFailure:
        metrics.RECIPIENTS_BOUNCED.value += 1
        number, status, text = "5", "bounced", outcome.reason
    else:
        assert type(outcome) is Expanded
        _expanded(queue_id, forward_path, outcome, delay_s)
        return
    what = outcome.detail
    delay_s = max(delay_s, 0.0)  # the wall clock may have been set back
    dsn = f"{number}.0.0" if what is UNDEFINED else f"{number}.{what.subject}.{what.detail}"
    if _to.lines.is_json:
        _to.sink.put(
            _to.lines.event(
                "attempted",
                queue_id=_id(queue_id),
                service=service,
                forward_path=str(forward_path),
                original_to=str(original_to),
                relay=outcome.relay,
                delay_s=round(delay_s, 3),
                delays=[round(part, 3) for part in delays],
                dsn=dsn,
                status=status,
                reason=text,
            )
        )
        return
    to = forward_path if type(forward_path) is str else forward_path.text  # type: ignore[union-attr]
    before = f", orig_to=<{original_to}>" if original_to else ""
    _to.sink.put(
        f"{_to.lines.prefix(service)}{_id(queue_id)}: to=<{to}>{before}, relay={outcome.relay},"
        f" {print_delays(delay_s, delays)}, dsn={dsn}, status={status} ({text})"
    )


def _expanded(queue_id: int, forward_path: Address | str, outcome: Expanded, delay_s: float) -> None:
    metrics.RECIPIENTS_EXPANDED.value += 1
    if _to.lines.is_json:
        _to.sink.put(
            _to.lines.event(
                "expanded",
                queue_id=_id(queue_id),
                forward_path=str(forward_path),
                relay=outcome.relay,
                targets=list(outcome.targets),
            )
        )
        return
    named = ", ".join(outcome.targets[:5]) + ", ..." * (len(outcome.targets) > 5)
    _to.sink.put(
        f"{_to.lines.prefix('local')}{_id(queue_id)}: to=<{forward_path}>, relay={outcome.relay},"
        f" delay={print_delay(delay_s)}, delays=0/0/0/0, dsn=2.0.0, status=sent (expanded to {named})"
    )


# The queue


def removed(queue_id: int) -> None:
    """Its last recipient is final; the message is gone."""
    _about("qmgr", "removed", queue_id, "removed")


def expired(queue_id: int, reverse_path: str, forward_path: Address | str = "") -> None:
    """It is older than the queue lifetime and had its chances: given up, and its sender is told."""
    metrics.RECIPIENTS_EXPIRED.value += 1
    text = f"from=<{reverse_path}>, status=expired, returned to sender"
    paths = {"reverse_path": reverse_path, "forward_path": str(forward_path)}
    _about("qmgr", "expired", queue_id, text, **paths)


def held(queue_id: int, by: str = "operator") -> None:
    """It waits until somebody releases it."""
    _about("queue", "held", queue_id, f"placed on hold by {by}", by=by)


def released(queue_id: int, by: str = "operator") -> None:
    """It goes on."""
    _about("queue", "released", queue_id, f"released from hold by {by}", by=by)


def deleted(queue_id: int, by: str = "operator") -> None:
    """An operator has thrown it away; nobody is told."""
    _about("queue", "deleted", queue_id, f"deleted by {by}", by=by)


def reported(queue_id: int, kind: str, report_id: int) -> None:
    """Its sender was told: `kind` is failed (a bounce), delayed or delivered."""
    metrics.REPORTS.of(kind).value += 1
    name = _id(report_id)
    text = f"sender {_REPORTS.get(kind, kind)}: {name}"
    _about("bounce", "reported", queue_id, text, kind=kind, report_id=name)


def _about(service: str, event: str, queue_id: int, text: str, **fields: object) -> None:
    if _to.lines.is_json:
        _to.sink.put(_to.lines.event(event, queue_id=_id(queue_id), **fields))
    else:
        _to.sink.put(f"{_to.lines.prefix(service)}{_id(queue_id)}: {text}")


# What belongs to no message


def noted(text: str) -> None:
    """Something an administrator may want to know."""
    _say("noted", "", text)


def warned(text: str) -> None:
    """Something an administrator ought to know."""
    _say("warned", "warning: ", text)


def failed(text: str) -> None:
    """A mistake of ours, with the trace of the exception that is being handled (rule 15)."""
    kind, error, trace = sys.exc_info()
    told = traceback.format_exception(kind, error, trace, limit=-20) if error else []
    lines = [line for part in told for line in part.splitlines()][:200]
    if _to.lines.is_json:
        _to.sink.put(_to.lines.event("failed", text=text, trace=lines))
        return
    for line in (text, *lines):
        _to.sink.put(f"{_to.lines.prefix(_to.lines.process)}error: {line}")


def _say(event: str, mark: str, text: str) -> None:
    if _to.lines.is_json:
        _to.sink.put(_to.lines.event(event, text=text))
    else:
        _to.sink.put(f"{_to.lines.prefix(_to.lines.process)}{mark}{text}")
