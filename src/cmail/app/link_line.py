"""The thin line as workers share it: each tells what it has on it and hears what the others have."""

import asyncio
from collections.abc import Collection
from typing import Final

from cmail.net.control import ControlError, Fields
from cmail.policy.line_use import LineUse, parse_line_use, together

BELIEVED_S: Final = 3.0  # who uses it tells it again twice a second (worker_line.py); who has died does not


class SharedLine:
    """Of the link process. `names`: the workers."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._uses: dict[str, tuple[float, LineUse]] = {}  # by worker, and how long it is believed

    async def use(self, request: Fields) -> Fields:
        """What a worker has on the line now; the answer is what the others have."""
        name = str(request.get("worker"))
        if name not in self._names:
            raise ControlError("no such worker")
        try:
            use = parse_line_use(request)
        except ValueError as error:
            raise ControlError(str(error)) from None
        now = asyncio.get_running_loop().time()
        self._uses[name] = now + BELIEVED_S, use
        others = (each for other, (until, each) in self._uses.items() if other != name and now < until)
        return together(others).fields()
