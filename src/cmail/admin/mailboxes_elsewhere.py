"""Mailboxes elsewhere ([[collect]]): what the link process says of each, in words and for programs."""

from collections.abc import Mapping
from typing import Any, Final

from cmail.admin.rows import duration, rfc3339

Fields = Mapping[str, Any]

_THERE: Final = (("previewed", "too large to be fetched by themselves"), ("left", "cannot be taken"))


def where_words(account: Fields) -> str:
    """IMAP, anna4711 at imap.isp.example, for anna@example.org."""
    where = f"{account['protocol'].upper()}, {account['username']} at {account['host']}"
    kept = ", kept there" if account["keep"] else ""
    return f"{where}, for {account['to']}{kept}"


def state_words(account: Fields) -> str:
    """What is done there now, and when it is the next time."""
    state = "listens for new mail" if account["state"] == "listening" else str(account["state"])
    if account["next_s"] > 0 and account["state"] == "waiting":
        state += f", the next time in {duration(account['next_s'] * 1000)}"
    return state


def there_words(account: Fields) -> str:
    """What is known there and was not fetched whole; "" for nothing."""
    counts = account["counts"]
    return ", ".join(f"{counts[name]} {words}" for name, words in _THERE if counts.get(name))


def left_words(message: Fields) -> str:
    """Why a message (collect.list) was not fetched whole."""
    return str(message["words"]) if message["state"] == "left" else "too large, its beginning was delivered"


def as_json(account: Fields, warning: str = "") -> dict[str, Any]:
    """As programs read it. `warning`: what is wrong with its settings."""
    return {**account, "last": rfc3339(account["last_ms"]), "warning": warning}
