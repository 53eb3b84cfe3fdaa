"""What a worker counts, and what is wrong with it now."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence

from cmail.link.clock import LinkView
from cmail.net.control import Fields
from cmail.observe import log_file, metrics, trouble
from cmail.storage.account_book import FILE_NAME
from cmail.storage.spool_sqlite import SqliteSpool


class WorkerFigures:
    """One a worker. The one with `drop_trouble` speaks for all: of the drop folder and the accounts, too."""

    def __init__(
        self,
        data_dir: str,
        spools: Sequence[SqliteSpool],
        link_clock: LinkView,
        drop_trouble: Callable[[], str] | None,
    ) -> None:
        self._data_dir, self._spools, self._link_clock = data_dir, spools, link_clock
        self._drop_trouble = drop_trouble

    async def metrics(self, _request: Fields) -> Fields:
        """Every counter; what is in the queue is counted now."""
        recipients, messages = Counter[str](), 0
        for spool in self._spools:
            figures = await spool.figures()
            messages += figures.messages_count
            recipients.update({state.lower(): count for state, count in figures.recipients.items()})
        metrics.QUEUE_MESSAGES.value = messages
        for state, count in recipients.items():
            metrics.QUEUE_RECIPIENTS.of(state).value = count
        metrics.LINK_UP.value = int(not self._link_clock.is_down)
        return dict(metrics.snapshot())

    async def troubles(self, _request: Fields) -> Fields:
        """What is wrong now, in plain words; nothing of what is over."""
        found = [words for spool in self._spools for words in await spool.troubles()]
        if self._drop_trouble is not None:
            found += [self._drop_trouble(), await asyncio.to_thread(_account_trouble, self._data_dir)]
        found += await asyncio.to_thread(trouble.current)
        found.append(log_file.trouble())
        return {"troubles": list(dict.fromkeys(filter(None, found)))}


def _account_trouble(data_dir: str) -> str:
    path = os.path.join(data_dir, FILE_NAME)
    if os.path.exists(path):
        return ""
    return f"{path} is not there: users and aliases go on as they were, and cannot be changed"
