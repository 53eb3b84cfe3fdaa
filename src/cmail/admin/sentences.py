"""Sentences: an event of the log in plain words, one sentence or two; its codes through admin/words."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from cmail.admin.events import Event
from cmail.admin.words import UNKNOWN, of_reason

_CODES: Final = re.compile(r"\d{3}[ -](?:\d\.\d{1,3}\.\d{1,3} ?)?")  # in front of what a reply says
_of_reason: Final = lru_cache(maxsize=2000)(of_reason)  # many wait for the same


def sentence(event: Event) -> str:
    """What happened."""
    return _SENTENCES[event.what](event)


def _accepted(event: Event) -> str:
    count = event.get("recipients_count")
    size = _size(event.get("size_bytes"))
    to = "" if count in ("", "1") else f" to {count} recipients"
    user = event.get("username") or event.get("sasl_username")
    who = f", logged in as {user}" if user else ""
    client = event.get("client")
    where = f" from {_client(client)}{who}" if client else ""
    return f"{_mail(event)}{to} came in{where}{f' ({size})' if size else ''}."


def _sent(event: Event) -> str:
    to, relay = event.get("forward_path"), _host(event.get("relay"))
    if event.process == "local" or relay == "local":
        return f"{_mail(event)} was put into the mailbox of {to}{_before(event)}."
    return f"{_mail(event)} to {to}{_before(event)} was delivered to {relay}."


def _expanded(event: Event) -> str:
    targets = event.get("targets") or event.get("reason").removeprefix("expanded to ")
    return f"{_mail(event)} to {event.get('forward_path')} goes on to {targets}."


def _deferred(event: Event) -> str:
    return (
        f"{_mail(event)} to {event.get('forward_path')}{_before(event)} could not be delivered yet."
        f" {_why(event)}It is tried again by itself."
    )


def _bounced(event: Event) -> str:
    return (
        f"{_mail(event)} to {event.get('forward_path')}{_before(event)} could not be delivered. {_why(event)}"
    ).strip()


def _expired(event: Event) -> str:
    to = event.get("forward_path")
    return f"{_mail(event)}{f' to {to}' if to else ''} was given up: it could not be delivered in time."


def _refused(event: Event) -> str:
    stage, client = event.get("stage"), _client(event.get("client"))
    said = _CODES.sub("", event.get("reply"), count=1)
    to = event.get("forward_path")
    if stage == "CONNECT":
        what = f"A connection from {client}"
    elif stage in ("MAIL", "RCPT", "DATA", "BDAT", "END-OF-MESSAGE"):
        what = f"{_mail(event)}{f' to {to}' if to else ''}, brought by {client},"
    else:
        what = f"A command ({stage}) of {client}"
    return f"{what} was refused: {said}{'' if said.endswith(('.', '!', '?')) else '.'}"


def _too_many_errors(event: Event) -> str:
    return f"{_client(event.get('client'))} was shown out: it made too many errors."


def _login_failed(event: Event) -> str:
    return f"Log-in {_as_user(event)}from {_client(event.get('client'))} failed."


def _login_put_off(event: Event) -> str:
    why = event.get("reason")
    return (
        f"Log-in {_as_user(event)}from {_client(event.get('client'))} has to wait{f': {why}' if why else ''}."
    )


def _held(event: Event) -> str:
    return f"{_message(event)} was put on hold by {_by(event)}."


def _released(event: Event) -> str:
    return f"{_message(event)} was released by {_by(event)}."


def _deleted(event: Event) -> str:
    return f"{_message(event)} was deleted by {_by(event)}. Nobody is told."


def _reported(event: Event) -> str:
    news = {
        "failed": "that it could not be delivered",
        "delayed": "that it is late, and still tried",
        "delivered": "that it has arrived",
    }
    told = news.get(event.get("kind"), "what became of it")
    return f"The sender of message {event.queue_id} is told {told}, in message {event.get('report_id')}."


def _removed(event: Event) -> str:
    return f"{_message(event)} is done with: nobody waits for it any more."


def _connected(event: Event) -> str:
    return f"{_client(event.get('client'))} has connected."


def _disconnected(event: Event) -> str:
    return f"{_client(event.get('client'))} has gone."


def _noted(event: Event) -> str:
    return _said(event.get("text"))


def _failed(event: Event) -> str:
    return f"A mistake of the program; mail is kept. {_said(event.get('text'))}"


_SENTENCES: Final[Mapping[str, Callable[[Event], str]]] = {
    "accepted": _accepted,
    "sent": _sent,
    "expanded": _expanded,
    "deferred": _deferred,
    "bounced": _bounced,
    "expired": _expired,
    "refused": _refused,
    "too_many_errors": _too_many_errors,
    "login_failed": _login_failed,
    "login_put_off": _login_put_off,
    "held": _held,
    "released": _released,
    "deleted": _deleted,
    "reported": _reported,
    "removed": _removed,
    "connected": _connected,
    "disconnected": _disconnected,
    "noted": _noted,
    "warned": _noted,
    "failed": _failed,
}


def _mail(event: Event) -> str:
    """Mail from whom, as far as that is known."""
    sender = event.fields.get("reverse_path")
    if sender is None:
        return "Mail"
    return f"Mail from {sender}" if sender else "A notice of a mail system"


def _message(event: Event) -> str:
    sender = event.get("reverse_path")
    return f"Message {event.queue_id}{f' from {sender}' if sender else ''}"


def _before(event: Event) -> str:
    """Whom it was for at first."""
    original = event.get("original_to")
    return f" (it was for {original})" if original else ""


def _why(event: Event) -> str:
    reason = event.get("reason")
    row = _of_reason(reason)
    if row is UNKNOWN:
        return f"It was said: {_said(reason)} " if reason else ""
    return f"{row.sentence} "


def _as_user(event: Event) -> str:
    name = event.get("username")
    return f"as {name} " if name else ""


def _by(event: Event) -> str:
    by = event.get("by")
    return "an administrator" if by in ("", "operator") else by


def _client(text: str) -> str:
    """mail.example.net (192.0.2.9) of mail.example.net[192.0.2.9]; without its name the address alone."""
    name, _, address = text.partition("[")
    address = address.rstrip("]")
    if not address:
        return name or "somebody"
    return address if name in ("", "unknown") else f"{name} ({address})"


def _host(relay: str) -> str:
    """The name of name[address]:port."""
    name, bracket, address = relay.partition("[")
    return (name or address.partition("]")[0]) if bracket else relay


def _size(octets: str) -> str:
    number = float(octets) if octets.isdigit() else 0.0
    for unit in ("octets", "KB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.3g} {unit}" if octets else ""


def _said(text: str) -> str:
    """Words of the program or of a peer as a sentence."""
    text = text.strip()
    end = "" if text.endswith((".", "!", "?", ":")) else "."
    return f"{text[:1].upper()}{text[1:]}{end}" if text else ""
