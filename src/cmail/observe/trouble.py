"""Trouble: what is wrong in this process now, in plain words, from when it begins until it is over.

Who meets trouble says so with begin(), once for each time; whoever finds that the thing works again calls
end(). Where nobody may come by for a while (a mailbox that nobody writes to), `is_over` is a way to look: it
may block, and current() calls it, in a thread. So `cmail status` never tells of what has passed."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

KEPT_MAX: Final = 100  # a thousand mailboxes with the same fault need not be told one by one


@dataclass(frozen=True, slots=True)
class _Trouble:
    words: str
    is_over: Callable[[], bool] | None


_lock = threading.Lock()
_now: Final[dict[str, _Trouble]] = {}


def begin(what: str, words: str, is_over: Callable[[], bool] | None = None) -> bool:
    """`what` names the thing that does not work, `words` are for people. Whether that is news."""
    with _lock:
        before = _now.get(what)
        if before is None and len(_now) >= KEPT_MAX:
            return False
        _now[what] = _Trouble(words, is_over)
        return before is None or before.words != words


def end(what: str) -> bool:
    """It works again. Whether it was in trouble. Costs nothing while nothing is."""
    if what not in _now:
        return False
    with _lock:
        return _now.pop(what, None) is not None


def is_any() -> bool:
    """Whether something lasts: who ends its troubles on the path of a message asks first."""
    return bool(_now)


def current() -> list[str]:
    """The words of all that lasts; blocks while it looks whether something is over."""
    with _lock:
        asked = list(_now.items())
    over = {what: each for what, each in asked if each.is_over is not None and _is_over(each.is_over)}
    with _lock:
        for what, each in over.items():
            if _now.get(what) is each:  # else it has begun anew meanwhile
                del _now[what]
        return list(dict.fromkeys(each.words for each in _now.values()))


def _is_over(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except OSError:
        return False


def forget() -> None:
    """Nothing is wrong: in a process that was just forked."""
    global _lock
    _lock = threading.Lock()
    _now.clear()
