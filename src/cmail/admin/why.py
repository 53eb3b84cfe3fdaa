"""Why a recipient waits and what can be done about it, in plain words. Pure: a row in, sentences out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cmail.admin.rows import duration
from cmail.admin.words import Row, Whose, of_reason
from cmail.admin.words.ours import (
    BATCH,
    BEING_SENT,
    FOR_LATER,
    KEPT,
    NEW,
    OFF_LINE,
    ON_HOLD,
    SERVER_DOWN,
    SITE_AWAY,
    TOO_LARGE_EVER,
)
from cmail.mail.outcome import NotNow
from cmail.policy.routing import (
    HOST_PREFIX,
    LMTP,
    LOCAL,
    MX_PREFIX,
    RELAY,
    SITE_PREFIX,
    is_internet,
    parse_host_route,
)

_CANNOT_FIT: Final = "cannot fit: "  # as queue/admission.py begins
_LONG_MS: Final = 10_000  # what is sent for so long is worth telling
_AGAIN: Final = "It is tried again by itself."
_WAITED_OUT: Final = (Whose.THEIRS, Whose.RECIPIENT, Whose.MESSAGE, Whose.LINE)
_OFF_LINE_THEN: Final = (
    "We were off line when it was tried. While we are, nothing is tried, and the message does not get older."
)


@dataclass(frozen=True, slots=True)
class Why:
    """The answer of `cmail queue why`, and of the page."""

    why: str  # all of it
    advice: str
    name: str = ""  # of the row in admin/words
    sentence: str = ""  # the short of it
    path: str = ""  # the page where it is put right
    whose: Whose = Whose.THEIRS


def explain(
    row: Mapping[str, Any],
    now_ms: int,
    *,
    is_link_down: bool,
    is_batch: bool,
    is_server_down: bool = False,
    is_page: bool = False,
) -> Why:
    """Why the recipient of a row (admin.rows) waits. Advice for the page names pages, else commands."""
    if is_server_down:
        last = f" The last attempt ended with: {row['reason']}." if row["reason"] else ""
        return _why(row, SERVER_DOWN, SERVER_DOWN.sentence + last, is_page)
    if row["state"] == "held" and row["reason"].startswith(_CANNOT_FIT):
        why = f"It is on hold: it {row['reason']}."
        return _why(row, TOO_LARGE_EVER, why, is_page, why)
    if row["state"] == "held":
        return _why(row, ON_HOLD, ON_HOLD.sentence, is_page)
    if row.get("sent_for_ms") is not None:
        why = f"It is being sent now, {_way(row['route'])}{_so_far(row['sent_for_ms'])}."
        return _why(row, BEING_SENT, why, is_page, why)
    if row.get("hold_until_ms", 0) > now_ms:  # RFC 4865: whatever else there is, it would not go now
        when = duration(row["hold_until_ms"] - now_ms)
        why = f"{FOR_LATER.sentence} It goes in {when}: {row['reason']}."
        return _why(row, FOR_LATER, why, is_page)
    is_outside = is_internet(row["route"])
    if is_outside and is_link_down:
        return _why(row, OFF_LINE, OFF_LINE.sentence, is_page)
    if kept := row.get("kept"):
        why = f"{kept} While it waits it is not tried, and does not get older."
        return _why(row, KEPT, why, is_page, kept)
    if is_outside and row["kind"] == NotNow.OFFLINE:
        return _why(row, OFF_LINE, _OFF_LINE_THEN, is_page, _OFF_LINE_THEN)
    if not row["attempts"] and is_outside and is_batch:
        return _why(row, BATCH, BATCH.sentence, is_page)
    if not row["attempts"] and not row["reason"] and row["route"].startswith(SITE_PREFIX):
        why = f"It is for the site {row['route'].removeprefix(SITE_PREFIX)}, and goes when that comes for it."
        return _why(row, SITE_AWAY, why, is_page, why)
    if not row["attempts"] and not row["reason"]:
        return _why(row, NEW, NEW.sentence, is_page)
    found = of_reason(row["reason"])
    return _why(row, found, f"{found.sentence} {_tried(row, now_ms)}", is_page)


def _why(row: Mapping[str, Any], found: Row, why: str, is_page: bool, sentence: str = "") -> Why:
    advice = found.advice_for(is_page=is_page).format(id=row["id"])
    if found.whose in _WAITED_OUT and found is not OFF_LINE and found is not TOO_LARGE_EVER:
        now = "" if is_page or "cmail queue" in advice else f" To try now: cmail queue flush {row['id']}"
        advice = f"{_AGAIN} {advice}".rstrip() + now
    return Why(why, advice, found.name, sentence or found.sentence, found.path, found.whose)


def _tried(row: Mapping[str, Any], now_ms: int) -> str:
    said = row["reason"] or "nothing was said"
    waits = row["next_ms"] - now_ms
    when = f"The next attempt is in {duration(waits)}." if waits > 0 else "It is its turn now."
    return f"{_times(row['attempts'])} {_way(row['route'])}; the last answer was: {said}. {when}"


def _so_far(sent_for_ms: int) -> str:
    return f", for {duration(sent_for_ms)} so far" if sent_for_ms >= _LONG_MS else ""


def _times(attempts: int) -> str:
    if not attempts:  # others were tried, or its host was asked for, and told enough of the next hop
        return "It has not been tried itself; others were, or its host was looked up,"
    return "Tried once" if attempts == 1 else f"Tried {attempts} times"


def _way(route: str) -> str:
    if route == LOCAL:
        return "into the mailbox here"
    if route == LMTP:
        return "through the LMTP server"
    if route == RELAY:
        return "through the upstream server"
    if route.startswith(HOST_PREFIX):
        return f"at {parse_host_route(route)[0]}, where its domain is forwarded to"
    if route.startswith(SITE_PREFIX):
        return f"at the site {route.removeprefix(SITE_PREFIX)}"
    return f"at the mail server of {route.removeprefix(MX_PREFIX)}"
