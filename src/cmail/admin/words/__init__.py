"""Codes into words: one table of what can stand in the way of a message, what it means and what to do.

The first row that recognises a reason is it. Its words are looked at first: they are more exact than numbers,
which many servers give at will; then its enhanced status (RFC 3463, and IANA's list of them); then its reply
code, with the stage at which it came (RFC 5321 §4.2). A row stands before those that it is more exact than.
What servers really say of each row stands in tests/unit/admin/test_words.py."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cmail.admin.said import Said, has_phrase, read_reason
from cmail.admin.words.log_in import LOG_IN
from cmail.admin.words.message import MESSAGE, RECIPIENT, SENDER
from cmail.admin.words.ours import BEFORE, OURS
from cmail.admin.words.row import Row, Whose
from cmail.admin.words.server import NUMBERS, SERVER

__all__ = ["TABLE", "UNKNOWN", "Row", "Whose", "of_reason"]

TABLE: Final[Sequence[Row]] = (*BEFORE, *OURS, *LOG_IN, *SENDER, *MESSAGE, *RECIPIENT, *SERVER, *NUMBERS)

# Nobody knows these words.
UNKNOWN: Final = Row(
    "unknown",
    Whose.THEIRS,
    "It did not work, and we cannot say it in plainer words.",
    "The raw words may help.",
)


# A page has a hundred rows: all phrases stand in one row, each with what `in` finds quickly.
_PHRASES: Final = [(phrase.partition("*")[0], phrase, row) for row in TABLE for phrase in row.phrases]


@lru_cache(maxsize=1024)  # many wait for the same reason
def of_reason(reason: str) -> Row:
    """The row of a reason, as it stands in queue and log."""
    said = read_reason(reason)
    return _by_words(said) or _by_status(said) or _by_code(said) or UNKNOWN


def _by_words(said: Said) -> Row | None:
    text = said.text
    for beginning, phrase, row in _PHRASES:
        if beginning in text and has_phrase(text, phrase) and not _is_beside(row, said):
            return row
    return None


def _is_beside(row: Row, said: Said) -> bool:
    """What is said of a log-in is not said of a recipient or a message; and the last rows say so little that
    a number beside their words says more."""
    if _is_log_in(said) and row.whose in (Whose.RECIPIENT, Whose.MESSAGE):
        return True
    return row.name in ("policy", "temporary refusal") and bool(said.status or said.code)


def _by_status(said: Said) -> Row | None:
    """At a log-in only what is ours to see to; of anything else there the code says more (530 5.7.0)."""
    if not said.status:
        return None
    either = {said.status, f"x{said.status[1:]}"}
    for row in TABLE:
        if not either.isdisjoint(row.statuses) and (row.whose is Whose.OURS or not _is_log_in(said)):
            return row
    return None


def _is_log_in(said: Said) -> bool:
    """Whether it is said of a log-in: RFC 4954 §6."""
    return said.stage == "log-in" or said.code in ("530", "534", "535", "538")


def _by_code(said: Said) -> Row | None:
    if not said.code:
        return None
    return next((row for row in TABLE if any(_is_reply(each, said) for each in row.replies)), None)


def _is_reply(each: str, said: Said) -> bool:
    code, _, stage = each.partition("@")
    return said.code.startswith(code) and stage in ("", said.stage)
