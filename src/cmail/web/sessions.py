"""Sessions of the page: who has logged in, in memory: a restart of the admin process ends them."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

SESSIONS_MAX: Final = 200  # then the one that was used longest ago ends
IDLE_S: Final = 12 * 3600.0
AGE_MAX_S: Final = 7 * 86400.0
SAID_MAX: Final = 20


class LoggedIn:
    """One session; see page.Session."""

    def __init__(self, name: str, now_s: float) -> None:
        self.name = name
        self.csrf = secrets.token_urlsafe(24)
        self.began_at = self.used_at = now_s
        self._said: list[tuple[str, str]] = []

    def say(self, words: str, kind: str = "done") -> None:
        """To be shown on the next page."""
        self._said = [*self._said, (kind, words)][-SAID_MAX:]

    def take_said(self) -> Sequence[tuple[str, str]]:
        """kind and words of what was said since the last page."""
        said, self._said = self._said, []
        return said


class Sessions:
    """By the hash of their cookie: what is in memory opens no door."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._by_hash: OrderedDict[str, LoggedIn] = OrderedDict()

    def begin(self, name: str) -> str:
        """A new session; its cookie."""
        cookie = secrets.token_urlsafe(32)
        self._by_hash[_hash(cookie)] = LoggedIn(name, self._monotonic())
        while len(self._by_hash) > SESSIONS_MAX:
            self._by_hash.popitem(last=False)
        return cookie

    def find(self, cookie: str) -> LoggedIn | None:
        """The session of a cookie, unless it is over."""
        key = _hash(cookie)
        session = self._by_hash.get(key)
        if session is None:
            return None
        now = self._monotonic()
        if now - session.used_at > IDLE_S or now - session.began_at > AGE_MAX_S:
            del self._by_hash[key]
            return None
        session.used_at = now
        self._by_hash.move_to_end(key)
        return session

    def end(self, cookie: str) -> None:
        """Log out."""
        self._by_hash.pop(_hash(cookie), None)

    def end_all(self) -> None:
        """The password has changed."""
        self._by_hash.clear()


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
