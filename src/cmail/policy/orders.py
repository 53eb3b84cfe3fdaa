"""Orders: what may go over the Internet now, as numbers; the link process makes them, workers obey."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

NO_LIMIT: Final = 1 << 62  # octets; larger than any message
NOTHING: Final = -1
RATE_MAX: Final = 1 << 31  # kbit/s; the kernel takes no larger one as a pace


@dataclass(frozen=True, slots=True)
class Orders:
    """What holds for mail that needs the link. As it stands without any: everything may go."""

    size_max: int = NO_LIMIT  # octets of an ordinary message; NOTHING: none may go
    urgent_size_max: int = NO_LIMIT  # the same for urgent mail (priority above 0)
    is_exchange_open: bool = True  # False: exchanges are planned and none goes on
    rate: int = 0  # kbit/s of the link that mail goes by; 0: fast, or nobody said
    size_ever: int = NO_LIMIT  # octets; what is larger fits no link, ever, and is held with words
    words: str = ""  # of the link that mail goes by, for whoever asks why: "satellite: up to 100 KiB"
    ever_words: str = ""  # why nothing larger can: "no window of satellite is longer than 20 minutes"
    is_batch_open: bool = False  # an exchange goes on: what queue.batch collects goes as it comes

    def admits(self, size_bytes: int, priority: int) -> bool:
        """Whether a message may go now."""
        return self.is_exchange_open and size_bytes <= (
            self.urgent_size_max if priority > 0 else self.size_max
        )

    @property
    def is_thin(self) -> bool:
        """Whether the link is one on which each octet and each round trip counts."""
        return 0 < self.rate <= 2048

    def fields(self) -> dict[str, Any]:
        """As they go over a control socket."""
        return asdict(self)


FREE: Final = Orders()


def parse_orders(fields: Mapping[str, Any]) -> Orders:
    """Orders from their fields; ValueError when they are none."""
    numbers = [fields.get(name) for name in ("size_max", "urgent_size_max", "rate")]
    is_open = fields.get("is_exchange_open")
    if any(type(number) is not int for number in numbers) or type(is_open) is not bool:
        raise ValueError("not orders of the link")
    size_ever, words = fields.get("size_ever", NO_LIMIT), fields.get("words", "")
    ever_words, is_batch_open = fields.get("ever_words", ""), fields.get("is_batch_open", False)
    is_text = isinstance(words, str) and isinstance(ever_words, str)
    if type(size_ever) is not int or not is_text or type(is_batch_open) is not bool:
        raise ValueError("not orders of the link")
    size_max, urgent_size_max, rate = (int(number or 0) for number in numbers)
    sizes = size_max, urgent_size_max, size_ever
    if min(sizes) < NOTHING or max(sizes) > NO_LIMIT or rate > RATE_MAX:
        raise ValueError("not orders of the link: there are no such sizes")
    return Orders(
        size_max, urgent_size_max, is_open, max(0, rate), size_ever, words, ever_words, is_batch_open
    )
