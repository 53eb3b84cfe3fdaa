"""Asks the processes of a running server from within an event loop: for the page and the API."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cmail.admin.going import add_going
from cmail.admin.queue_access import sum_figures
from cmail.admin.rows import Row, sort_key
from cmail.net.control import Answer, ControlClient, ControlError, NotRunningError

Fields = dict[str, Any]
ASK_S: Final = 4.0  # a process that does not answer must not hang the page
CHANGE_S: Final = 120.0  # a change of a million recipients is one commit
PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Heard:
    """What several processes answered; `silent` are those that did not, with the reason."""

    answers: Sequence[Answer]
    silent: Mapping[str, str]


class Processes:
    """The processes of the server that we are a part of."""

    def __init__(self, run_folder: str, workers_count: int) -> None:
        self._folder = run_folder
        self.workers = [f"worker-{number}" for number in range(workers_count)]

    async def ask(self, name: str, question: str, /, *, timeout_s: float = ASK_S, **arguments: Any) -> Answer:
        """One process. ControlError: it said no, or does not answer."""
        return await ControlClient(self._folder, name, timeout_s).ask(question, arguments)

    async def ask_workers(self, question: str, *, timeout_s: float = ASK_S, **arguments: Any) -> Heard:
        """All workers at once. ControlError when one says no, or when none answers."""
        asked = (self.ask(name, question, timeout_s=timeout_s, **arguments) for name in self.workers)
        results = await asyncio.gather(*asked, return_exceptions=True)
        answers, silent = [], {}
        for name, result in zip(self.workers, results, strict=True):
            if isinstance(result, Answer):
                answers.append(result)
            elif isinstance(result, NotRunningError):
                silent[name] = result.words
            else:
                raise result
        if not answers:
            raise NotRunningError("no worker answered")
        return Heard(answers, silent)

    async def rows(self, what: Mapping[str, Any], limit: int, after: tuple[int, int] = (0, -1)) -> list[Row]:
        """Recipients of a filter (admin.entries.filter_of), oldest first, all workers together, behind
        `after` (queue id as a number, position)."""
        heard = await self.ask_workers("queue.list", filter=dict(what), limit=min(limit, PAGE), after=after)
        rows = [row for answer in heard.answers for row in answer.rows]
        return sorted(rows, key=sort_key)[:limit]

    async def count(self, what: Mapping[str, Any]) -> int:
        """How many recipients wait that a filter means, of all workers."""
        heard = await self.ask_workers("queue.count", filter=dict(what))
        return sum(int(answer.ok.get("recipients", 0)) for answer in heard.answers)

    async def show(self, queue_id: str, *, has_content: bool, octets_max: int = 0) -> list[Fields]:
        """One message in parts, as queue.show says it; ControlError 67 when it is not there. `octets_max`:
        no more of its header (and content) than that."""
        more = {"octets": octets_max} if octets_max else {}
        for name in self.workers:
            try:
                asked = self.ask(name, "queue.show", id=queue_id, content=has_content, **more)
                return list((await asked).rows)
            except ControlError as error:
                if error.code not in (67, 69):
                    raise
        raise ControlError(f"{queue_id} is not in the queue", 67)

    async def content(self, queue_id: str) -> AsyncGenerator[bytes]:
        """The content of a message in pieces, as fast as they are taken; ControlError 67 when it is not
        there. aclose() it."""
        for name in self.workers:
            try:
                found = self.stream(name, "queue.show", id=queue_id, content=True)
                async with contextlib.aclosing(found):
                    async for part in found:
                        if "content" in part:
                            yield base64.b64decode(part["content"])
                return
            except ControlError as error:
                if error.code not in (67, 69):
                    raise
        raise ControlError(f"{queue_id} is not in the queue", 67)

    def stream(self, name: str, question: str, **arguments: Any) -> AsyncGenerator[Fields]:
        """The rows of one process's answer, one by one."""
        return ControlClient(self._folder, name, ASK_S).rows(question, arguments)

    async def change(self, change: str, what: Mapping[str, Any], **more: str) -> Fields:
        """flush, hold, release, delete or bounce a whole filter: {recipients}, and what admin.going has words
        for."""
        question = "queue.bounce" if change == "bounce" else "queue.change"
        heard = await self.ask_workers(question, timeout_s=CHANGE_S, change=change, filter=dict(what), **more)
        return add_going(answer.ok for answer in heard.answers)

    async def figures(self) -> Fields:
        """Counts of the queue, of all workers together."""
        heard = await self.ask_workers("queue.figures")
        return sum_figures(answer.ok for answer in heard.answers)

    async def pages(self, what: Mapping[str, Any], limit: int = 0) -> AsyncIterator[Row]:
        """All recipients of a filter, page by page."""
        after, count = (0, -1), 0
        while page := await self.rows(what, PAGE, after):
            for row in page:
                yield row
                count += 1
                if count == limit:
                    return
            after = sort_key(page[-1])
