"""Hundreds of sites in the same second: few questions to the other workers, and each site is heard."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from cmail.app.gathered import Gathered
from cmail.app.sites import Place, Sites
from cmail.delivery.site_settings import SiteSettings
from cmail.net.control import ControlServer
from tests.support.clock import FakeClock

COUNT = 400


async def _turns() -> None:
    """What can begin has begun."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_comes_meanwhile_is_asked_together() -> None:
    """One question at a time; nobody has an answer from before he asked; one who goes away ends it for nobody."""
    asked: list[list[int]] = []

    async def main() -> None:
        go_on = asyncio.Semaphore(0)

        async def ask(wanted: Sequence[int]) -> int:
            asked.append(list(wanted))
            await go_on.acquire()
            return sum(wanted)

        gathered: Gathered[int, int] = Gathered(ask, "sum")
        first = asyncio.create_task(gathered.ask(1))
        await _turns()
        later = [asyncio.create_task(gathered.ask(number)) for number in (2, 3, 4)]
        await _turns()
        assert asked == [[1]]
        later[0].cancel()
        go_on.release()
        assert await first == 1
        go_on.release()
        assert await asyncio.gather(*later[1:]) == [9, 9]
        go_on.release()
        assert await gathered.ask(5) == 5

    asyncio.run(main())
    assert asked == [[1], [2, 3, 4], [5]]


def test_a_question_that_fails_fails_for_those_who_asked_it() -> None:
    """And not for who asks next."""

    async def main() -> None:
        async def ask(wanted: Sequence[int]) -> int:
            if 1 in wanted:
                raise OSError("no")
            return len(wanted)

        gathered: Gathered[int, int] = Gathered(ask, "sum")
        with pytest.raises(OSError, match="no"):
            await gathered.ask(1)
        assert await gathered.ask(2) == 1

    asyncio.run(main())


class _Office:
    """Two workers of one hub, over real control sockets; who asked worker-1 what, and how often."""

    def __init__(self, folder: Path, sites: Sequence[SiteSettings]) -> None:
        self._folder, self._all = folder, sites
        self.asked: list[str] = []
        self.workers = [self._sites(number) for number in range(2)]

    def _sites(self, number: int) -> Sites:
        place = Place(number, 2, str(self._folder), str(self._folder))
        clock = FakeClock()
        sites = Sites(place, clock, clock)
        sites.update(self._all, "hub.example", {})
        return sites

    def _counted(self, answers: Mapping[str, object]) -> dict[str, object]:
        def counted(name: str) -> object:
            async def answer(request: dict[str, object]) -> object:
                self.asked.append(name)
                return await answers[name](request)  # type: ignore[operator]

            return answer

        return {name: counted(name) for name in answers}

    async def start(self) -> list[ControlServer]:
        servers = [ControlServer(self._counted(each.answers())) for each in self.workers]  # type: ignore[arg-type]
        for number, server in enumerate(servers):
            await server.start(str(self._folder), f"worker-{number}")
        return servers


def test_four_hundred_sites_in_the_same_second(tmp_path: Path) -> None:
    """The other worker knows of each that it is there, what it has is counted for each, and it was asked a few times:
    not once for each, which is more than it answers at once."""
    sites = [SiteSettings(f"s{n}", (f"s{n}.example",), host="127.0.0.1:9") for n in range(COUNT)]
    office = _Office(tmp_path, sites)

    async def main() -> None:
        servers = await office.start()
        here, there = office.workers

        async def comes(site: SiteSettings) -> bool:
            waiting = await here.waiting([site])
            await here.came(site, "192.0.2.7", "ETRN")
            return waiting.is_complete

        assert all(await asyncio.gather(*(comes(site) for site in sites)))
        assert all(there.book.is_open(site.route) for site in sites)
        assert len(office.asked) < COUNT / 4, len(office.asked)
        for server in servers:
            await server.close()
        here.close()
        there.close()

    asyncio.run(main())


def test_one_that_the_settings_of_the_other_worker_do_not_know_yet(tmp_path: Path) -> None:
    """Settings come to one worker before the other: the sites that both know are told of all the same."""
    known = SiteSettings("old", ("old.example",), host="127.0.0.1:9")
    new = SiteSettings("new", ("new.example",), host="127.0.0.1:9")
    office = _Office(tmp_path, [known])

    async def main() -> None:
        servers = await office.start()
        here, there = office.workers
        here.update([known, new], "hub.example", {})
        await asyncio.gather(*(here.came(site, "192.0.2.7", "ETRN") for site in (new, known)))
        assert there.book.is_open(known.route)
        assert not there.book.is_open(new.route)
        for server in servers:
            await server.close()
        here.close()
        there.close()

    asyncio.run(main())
