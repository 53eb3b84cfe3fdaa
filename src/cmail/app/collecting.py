"""Collecting: the collector in the link process, with what settings and workers are to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cmail.app.snapshot import Snapshot
from cmail.link.collect.collector import Collector
from cmail.link.collect.parts import Terms
from cmail.link.collect.result import Result
from cmail.net.clock import RealClock
from cmail.net.control import AnswerFunction, ControlClient
from cmail.observe import maillog
from cmail.world import Resolver

ASK_S: Final = 60.0  # a large message is read through before it is taken
FIRST_WORKER: Final = "worker-0"


class Collecting:
    """Made before the loop runs; start() within it."""

    def __init__(self, data_dir: str, run_folder: str) -> None:
        self._data_dir, self._run_folder = data_dir, run_folder
        self._collector: Collector | None = None
        self.came: Callable[[int, int], None] = lambda messages, octets: None  # what was fetched, each time
        self.silent: Callable[[], None] = lambda: None  # a server did not answer: is it the line?

    async def start(self, snapshot: Snapshot, resolver: Resolver, *, is_online: bool) -> None:
        """Go on where the last run ended."""
        clock = RealClock()
        self._collector = Collector(
            self._data_dir, self._ask, resolver, clock, maillog, self._came, lambda: self.silent()
        )
        self.apply(snapshot)
        await self._collector.start(is_online=is_online)

    def apply(self, snapshot: Snapshot) -> None:
        """Other settings."""
        settings = snapshot.settings
        terms = Terms(
            settings.host.hostname,
            settings.smtp.advanced.max_message_size,
            settings.tls.ca_file,
            {each.password_file: snapshot.passwords.get(each.password_file, "") for each in settings.collect},
            settings.smtp.advanced.timeout.total_seconds(),
        )
        if self._collector is not None:
            self._collector.apply(settings.collect, terms, is_planned=settings.exchange.is_set)

    def set_online(self, is_online: bool) -> None:
        """The link went down: sessions end; or up."""
        if self._collector is not None:
            self._collector.set_online(is_online)

    def line_answers(self) -> None:
        """A probe got through: who found nobody there tries again."""
        if self._collector is not None:
            self._collector.line_answers()

    async def run_all(self, why: str, names: Sequence[str] = ()) -> Sequence[Result]:
        """Collect from everywhere, or from those that are named: "link-up", "exchange", "demand"; when all
        have ended, how."""
        return await self._collector.run_all(why, names) if self._collector is not None else []

    def check(self, names: Sequence[str]) -> list[str]:
        """The names of those from which can be collected now; ControlError when that cannot be."""
        assert self._collector is not None
        return self._collector.check(names)

    @property
    def has_accounts(self) -> bool:
        """Whether there is anything to collect from."""
        return self._collector is not None and self._collector.has_accounts

    def troubles(self) -> list[dict[str, Any]]:
        """What is wrong with which of them; see Watch.trouble()."""
        return self._collector.troubles() if self._collector is not None else []

    def _came(self, messages: int, octets: int) -> None:
        self.came(messages, octets)

    async def stop(self) -> None:
        """End what is under way."""
        if self._collector is not None:
            await self._collector.stop()

    def answers(self) -> Mapping[str, AnswerFunction]:
        """Questions, of which each is answered once start() was called: nobody can ask before."""

        def later(name: str) -> AnswerFunction:
            async def answer(request: dict[str, Any]) -> Any:
                assert self._collector is not None
                return await self._collector.answers()[name](request)

            return answer

        return {
            name: later(name) for name in ("collect.now", "collect.status", "collect.list", "collect.fetch")
        }

    async def _ask(self, question: str, fields: dict[str, Any]) -> dict[str, Any]:
        return (await ControlClient(self._run_folder, FIRST_WORKER, ASK_S).ask(question, fields)).ok
