"""Token buckets: how often something may happen for one client, account or domain."""

from collections import OrderedDict
from typing import Final

KEYS_MAX: Final = 10_000  # then the key that was used longest ago is forgotten: it had its rest


class Buckets:
    """A bucket for each key. It holds `burst` tokens and gets `per_minute` new ones a minute; what
    happens takes one, and an empty bucket says no. Bounded, whatever keys a peer thinks of."""

    def __init__(self, burst: float, per_minute: float, keys_max: int = KEYS_MAX) -> None:
        assert burst >= 1 and per_minute > 0 and keys_max > 0
        self._burst = burst
        self._per_second = per_minute / 60
        self._keys_max = keys_max
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, at this time

    def has_token(self, key: str, now_s: float) -> bool:
        """Whether take() would say yes; takes nothing."""
        return self._level(key, now_s) >= 1

    def take(self, key: str, now_s: float, tokens: float = 1) -> bool:
        """Take tokens; False when there are too few, and then none is taken."""
        level = self._level(key, now_s)
        is_enough = level >= tokens
        self._levels[key] = (level - tokens if is_enough else level, now_s)
        self._levels.move_to_end(key)
        if len(self._levels) > self._keys_max:
            self._levels.popitem(last=False)
        return is_enough

    def give_back(self, key: str, tokens: float = 1) -> None:
        """What was taken need not have been."""
        found = self._levels.get(key)
        if found is not None:
            self._levels[key] = (min(self._burst, found[0] + tokens), found[1])

    def forget(self, key: str) -> None:
        """The bucket is full again."""
        self._levels.pop(key, None)

    def wait_s(self, key: str, now_s: float) -> float:
        """How long until there is a token."""
        return max(0.0, (1 - self._level(key, now_s)) / self._per_second)

    def _level(self, key: str, now_s: float) -> float:
        level, then = self._levels.get(key, (self._burst, now_s))
        return min(self._burst, level + max(0.0, now_s - then) * self._per_second)
