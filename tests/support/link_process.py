"""LinkProcess: the link process as the parts of a worker ask it, without its process."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cmail.net.control import Fields


class LinkProcess:
    """Answers as it is told, and notes what it was asked. In place of `ControlClient`: called, it is the client."""

    def __init__(self, answer: Callable[[Fields], Fields]) -> None:
        """`answer` of what is asked; a ControlError that it raises goes up, as of a process that is away."""
        self._answer = answer
        self.asked: list[tuple[str, Fields]] = []

    def __call__(self, *_: object) -> Any:
        return self

    async def ask(self, question: str, fields: Fields) -> Any:
        """See ControlClient."""
        self.asked.append((question, fields))
        return SimpleNamespace(ok=self._answer(fields))


def saying(says: str) -> LinkProcess:
    """The same to all that is to be confirmed."""
    return LinkProcess(lambda _: {"says": says})
