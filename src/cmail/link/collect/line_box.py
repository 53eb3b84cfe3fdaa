"""LineBox: what a box has of its line, whatever protocol is spoken on it."""

from abc import ABC, abstractmethod
from typing import Self

from cmail.link.collect.line import Line


class LineBox(ABC):
    """The beginning of a box.Box."""

    def __init__(self, line: Line) -> None:
        self._line = line

    @abstractmethod
    async def _begin(self) -> None:
        """Greeting, TLS, log-in."""

    async def begun(self) -> Self:
        """Itself, when it has begun; else the line is closed."""
        try:
            await self._begin()
        except BaseException:
            self._line.close()
            raise
        return self

    @property
    def peer(self) -> str:
        """Its address."""
        return self._line.peer

    @property
    def octets_in(self) -> int:
        """What came over the line."""
        return self._line.octets_in

    def close(self) -> None:
        """The end, whatever is under way."""
        self._line.close()
