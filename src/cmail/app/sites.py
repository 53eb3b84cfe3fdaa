"""Sites: a worker's desk for servers that come and go; what one worker hears of a site the others hear."""

import asyncio
import os
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cmail.app.gathered import Gathered
from cmail.app.site_big import hold_big
from cmail.app.site_seen import read_seen, write_seen
from cmail.app.site_turn import Shard, TurnOwner, shard_turns
from cmail.app.site_turned import TurnedHere
from cmail.delivery.site_agent import SiteAgent
from cmail.delivery.site_book import SiteBook
from cmail.delivery.site_settings import SiteSettings
from cmail.delivery.smtp import SmtpAgent
from cmail.mail.queue_id import QueueId, parse_queue_id
from cmail.net.control import AnswerFunction, ControlClient, ControlError, Fields
from cmail.observe import maillog
from cmail.policy.routing import SITE_PREFIX
from cmail.queue import sites as queue_sites
from cmail.queue.scheduler import Scheduler
from cmail.smtpd.roles import Waiting
from cmail.storage.spool import Change, QueueFilter, RecipientState, SpoolError
from cmail.world import Clock, LinkClock

LOOK_S: Final = 5.0  # how often it is counted what waits, where that has a limit
ASK_S: Final = 5.0
AGAIN_S: Final = 10.0  # a site that logs in for each message is not announced each time
CAME_AGAIN_S: Final = 1.0  # who asks more often has what it asks for: no door is knocked at more often
ENTRIES_MAX: Final = 10_000  # recipients of a message that a site has let go
TOLD_MAX: Final = 500  # sites in one question: it is a line, and that has a limit
FULL: Final = b"452 4.2.2 Too much waits for that site just now: try again when it was there\r\n"
TOO_LARGE: Final = b"550 5.2.3 That message is larger than all that may wait for that site\r\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands among the others."""

    number: int
    workers_count: int
    data_dir: str
    run_folder: str

    @property
    def others(self) -> Sequence[str]:
        """The control names of the other workers."""
        return [f"worker-{n}" for n in range(self.workers_count) if n != self.number]


class Sites:
    """See smtpd.roles.SiteDesk. Everything is small: what waits stands in the spool."""

    def __init__(self, place: Place, clock: Clock, link_clock: LinkClock) -> None:
        self.place = place
        self._clock, self._link_clock = clock, link_clock
        self.hostname = ""
        self.book = SiteBook(clock.monotonic)
        self._turned = TurnedHere(place)
        self.shards: list[Shard] = []
        self._domains: dict[str, SiteSettings] = {}
        self._counts: dict[str, tuple[int, int]] = {}  # messages and octets that waited when we looked
        self._added: dict[str, tuple[int, int]] = {}  # and that came since
        self._told_at: dict[str, float] = {}
        self._came_at: dict[str, tuple[str, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Hundreds may come in the same second; each by itself would be too many questions for the others.
        self._counting = Gathered(self._count, "what waits for sites")
        self._telling = Gathered(self._tell, "sites came")
        self._noting = Gathered(self._tell_first, "sites were here")
        self._is_holding = False
        self._is_saving = self._has_news = False

    # What the worker calls.

    def update(self, sites: Sequence[SiteSettings], hostname: str, passwords: Mapping[str, str]) -> None:
        """Other settings; `passwords` by the paths of their files."""
        self.hostname = hostname
        self.book.update(sites, passwords)
        self._domains = {domain: site for site in sites for domain in site.domains}

    def agent(self, smtp: SmtpAgent) -> SiteAgent:
        """The agent of one shard."""
        return SiteAgent(self.book, smtp, self._clock.monotonic)

    def attach(self, scheduler: Scheduler, agent: SiteAgent) -> None:
        """Its scheduler: from now on routes to sites are closed unless one is there."""
        scheduler.is_site_open, scheduler.is_site_turned = agent.is_open, agent.is_turned
        scheduler.site_largest = agent.largest
        self.shards.append(Shard(scheduler, agent))

    async def run(self) -> None:
        """Count and hold, now and then, where the settings ask for it."""
        if self.place.number == 0:
            for name, (wall_ms, how) in (await asyncio.to_thread(read_seen, self.place.data_dir)).items():
                self.book.seen(name, wall_ms, how)
        while True:
            try:
                await self._look()
            except SpoolError as error:
                maillog.warned(f"what waits for sites cannot be counted: {error}")
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        if any(site.messages or site.size for site in self.book.sites):
            before, self._added = self._added, {}
            names = [site.name for site in self.book.sites]
            counts, is_complete = await self._waiting(names, is_held_too=True)  # both fill the disk
            if is_complete:
                self._counts = counts
            else:  # what was counted before, and what came since
                for name, (messages, octets) in before.items():
                    self._add(name, messages, octets)
        if any(site.largest for site in self.book.sites):
            await self._hold_big()

    async def _hold_big(self) -> None:
        if self._is_holding:
            return
        self._is_holding = True
        try:
            for site in self.book.sites:
                for shard in self.shards if site.largest else ():
                    await hold_big(site, shard.scheduler, self.hostname, self._clock, self._link_clock)
        finally:
            self._is_holding = False

    # What intake asks: see smtpd.roles.SiteDesk.

    async def waiting(self, sites: Iterable[SiteSettings]) -> Waiting:
        """What waits for some sites, in all workers."""
        names = [site.name for site in sites]
        counts, is_complete = await self._counting.ask(names)
        return Waiting(sum(counts[name][0] for name in dict.fromkeys(names)), is_complete)

    async def _count(self, wanted: Sequence[Sequence[str]]) -> tuple[dict[str, tuple[int, int]], bool]:
        return await self._waiting(list({name: None for names in wanted for name in names}))

    async def came(self, site: SiteSettings, address: str, how: str) -> None:
        """It is there: what waits for it goes, in every worker. Of one address it is heard once a second."""
        now = self._clock.monotonic()
        before, at = self._came_at.get(site.name, ("", -CAME_AGAIN_S))
        if before == address and now - at < CAME_AGAIN_S:
            return
        self._came_at[site.name] = address, now
        self._came(site, address, how)
        await self._telling.ask({"name": site.name, "address": address, "how": how})

    def seen(self, site: SiteSettings, how: str) -> None:
        """It was there, and nothing is to be sent because of it."""
        self._spawn(self._seen(site.name, how), "site seen")

    async def release(self, queue_id: str, sites: Iterable[SiteSettings]) -> int:
        """Let go what is held of a message for these sites, wherever it is."""
        names = [site.name for site in sites]
        count = await self._release(parse_queue_id(queue_id), names)
        for answer in await self._ask_others("site.release", {"id": queue_id, "names": names}):
            count += int(answer.get("recipients", 0)) if answer is not None else 0
        return count

    def turn(self, sites: Iterable[SiteSettings], client: str) -> TurnOwner:
        """What is done with a connection that has turned round."""
        found = list(sites)
        for site in found:
            self.seen(site, "ATRN")
        return TurnOwner(
            self.place, [s.name for s in found], client, self.hostname, self._turns, self._turned
        )

    def refusal(self, domain: str, size_bytes: int) -> bytes:
        """Whether there is room for more for a domain; b"": there is."""
        site = self._domains.get(domain)
        if site is None or not (site.messages or site.size):
            return b""
        if 0 < site.size < size_bytes:
            return TOO_LARGE
        messages, octets = self._counts.get(site.name, (0, 0))
        more, larger = self._added.get(site.name, (0, 0))
        is_full = 0 < site.messages <= messages + more
        is_too_much = 0 < site.size < octets + larger + size_bytes
        return FULL if is_full or is_too_much else b""

    def took(self, routes: Iterable[str], size_bytes: int) -> None:
        """A message was accepted."""
        for route in set(routes):
            if route.startswith(SITE_PREFIX):
                name = route.removeprefix(SITE_PREFIX)
                self._add(name, 1, size_bytes)
                site = self.book.named(name)
                if site is not None and 0 < site.largest < size_bytes:
                    self._spawn(self._hold_big(), "large for a site")

    def logged_in(self, username: str, address: str) -> None:
        """A site with a host of its own is there when it has logged in, for whatever it came."""
        for site in self.book.of_user(username):
            now = self._clock.monotonic()
            if site.host and now - self._told_at.get(site.name, -AGAIN_S) >= AGAIN_S:
                self._told_at[site.name] = now
                self._spawn(self.came(site, address, "log-in"), "site came")

    # What the other workers ask, and `cmail site list`.

    def answers(self) -> Mapping[str, AnswerFunction]:
        """Their questions."""

        async def came(request: Fields) -> Fields:
            for site, each in self._those(request):
                self._came(site, str(each.get("address", "")), str(each.get("how", "")))
            return {}

        async def seen(request: Fields) -> Fields:
            for site, each in self._those(request):
                self.book.seen(site.name, self._clock.wall_ms(), str(each.get("how", "")))
            await self._save()
            return {}

        async def waiting(request: Fields) -> Fields:
            is_held_too = request.get("is_held_too") is True
            return {"waiting": await self._own_waiting(_names(request), is_held_too=is_held_too)}

        async def release(request: Fields) -> Fields:
            try:
                queue_id = parse_queue_id(str(request.get("id", "")))
            except ValueError as error:
                raise ControlError(str(error), 64) from None
            return {"recipients": await self._release(queue_id, _names(request))}

        async def turn(request: Fields) -> Any:
            return self._turns(request)

        async def turned(request: Fields) -> Fields:
            await self._turned.end_dead(_names(request))
            return {}

        async def list_(_request: Fields) -> Any:
            return self._rows()

        return {
            "site.came": came,
            "site.seen": seen,
            "site.waiting": waiting,
            "site.release": release,
            "site.turn": turn,
            "site.turned": turned,
            "site.list": list_,
        }

    def _turns(self, request: Fields) -> Any:
        return shard_turns(self.shards, self.place.run_folder, request)

    async def _rows(self) -> Any:
        if not self.book.sites:
            return  # a long queue is not counted for nobody
        waiting = await self._own_waiting([site.name for site in self.book.sites])
        for site in self.book.sites:
            presence = self.book.presence(site.name)
            messages, octets = waiting[site.name]
            yield {
                "name": site.name,
                "domains": list(site.domains),
                "messages": messages,
                "octets": octets,
                "held": await self._held(site),
                "messages_max": site.messages,
                "octets_max": int(site.size),
                "is_there": self.book.is_open(site.route),
                "seen_ms": presence.seen_wall_ms,
                "how": presence.how,
            }

    async def _held(self, site: SiteSettings) -> int:
        """Recipients on hold; there are few."""
        counts = [
            shard.scheduler.spool.count(QueueFilter(domain=domain, states=(RecipientState.HELD,)))
            for shard in self.shards
            for domain in site.domains
        ]
        return sum(await asyncio.gather(*counts))

    # How.

    def _those(self, request: Fields) -> list[tuple[SiteSettings, Fields]]:
        """Each site of a question, with what is said of it; one that the settings do not know is left out."""
        rows = request.get("sites")
        if not isinstance(rows, list):
            raise ControlError("not a list of sites", 64)
        found = [
            (self.book.named(str(each.get("name", ""))), each) for each in rows if isinstance(each, dict)
        ]
        return [(site, each) for site, each in found if site is not None]

    def _came(self, site: SiteSettings, address: str, how: str) -> None:
        self.book.came(site, address, self._clock.wall_ms(), how)
        if self.book.is_open(site.route):
            for shard in self.shards:
                for step in (queue_sites.begin, queue_sites.end_dead):
                    shard.scheduler.spawn(step(shard.scheduler, site.route), f"site {site.name}")
            stays = site.stays.total_seconds() + 0.001
            asyncio.get_running_loop().call_later(stays, self._look_whether_gone, site.route)
        if self.place.number == 0:
            maillog.noted(f"site {site.name}: it is there ({how} from {address})")
            self._spawn(self._save(), "sites seen")

    def _look_whether_gone(self, route: str) -> None:
        for shard in self.shards:
            if not shard.agent.is_open(route):
                queue_sites.end(shard.scheduler, route)

    async def _seen(self, name: str, how: str) -> None:
        self.book.seen(name, self._clock.wall_ms(), how)
        if self.place.number == 0:
            await self._save()
            return
        await self._noting.ask({"name": name, "how": how})

    async def _tell_first(self, seen: Sequence[Fields]) -> None:
        for some in _portions(seen):
            try:
                await self._client("worker-0").ask("site.seen", {"sites": some})
            except ControlError as error:
                names = ", ".join(str(each["name"]) for each in some)
                maillog.warned(f"worker-0 was not told which sites were here: {names}: {error}")

    async def _save(self) -> None:
        """One at a time; who is seen meanwhile is in the next one."""
        self._has_news = True
        if self._is_saving:
            return
        self._is_saving = True
        try:
            while self._has_news:
                self._has_news = False
                seen = {site.name: self.book.presence(site.name) for site in self.book.sites}
                found = {name: (p.seen_wall_ms, p.how) for name, p in seen.items() if p.seen_wall_ms}
                await asyncio.to_thread(write_seen, self.place.data_dir, found)
        except OSError as error:
            maillog.warned(f"which sites were here cannot be noted: {error.strerror or error}")
        finally:
            self._is_saving = False

    async def _release(self, queue_id: QueueId, names: Sequence[str]) -> int:
        """Let go what is held here of a message for these sites."""
        routes = {SITE_PREFIX + name for name in names}
        count = 0
        for shard in self.shards:
            spool = shard.scheduler.spool
            what = QueueFilter(ids=(queue_id,), states=(RecipientState.HELD,))
            found = [e for e in await spool.select(what, ENTRIES_MAX) if e.route in routes]
            if not found:
                continue
            these = QueueFilter(recipients=tuple((e.queue_id, e.position) for e in found))
            changed = await spool.change(these, Change.RELEASE, shard.scheduler.change_times())
            shard.scheduler.changed(Change.RELEASE, list(changed.queue_ids))
            maillog.released(queue_id)
            count += changed.recipients_count
        return count

    def _add(self, name: str, messages: int, octets: int) -> None:
        before = self._added.get(name, (0, 0))
        self._added[name] = before[0] + messages, before[1] + octets

    async def _waiting(
        self, names: Sequence[str], *, is_held_too: bool = False
    ) -> tuple[dict[str, tuple[int, int]], bool]:
        """Messages and octets by site, in all workers; whether all have answered."""
        own = await self._own_waiting(names, is_held_too=is_held_too)
        total = {name: (count[0], count[1]) for name, count in own.items()}
        question = {"names": list(names), "is_held_too": is_held_too}
        answers = await self._ask_others("site.waiting", question)
        for answer in answers:
            for name, count in (answer or {}).get("waiting", {}).items():
                before = total.get(name, (0, 0))
                total[name] = before[0] + int(count[0]), before[1] + int(count[1])
        return total, None not in answers

    async def _own_waiting(self, names: Sequence[str], *, is_held_too: bool = False) -> dict[str, list[int]]:
        found = {name: [0, 0] for name in names}
        for shard in self.shards:
            for waits in await shard.scheduler.spool.waits(is_held_too=is_held_too):
                name = waits.route.removeprefix(SITE_PREFIX)
                if waits.route.startswith(SITE_PREFIX) and name in found:
                    found[name][0] += waits.messages_count
                    found[name][1] += waits.octets
        return found

    async def _tell(self, came: Sequence[Fields]) -> None:
        for some in _portions(came):
            answers = await self._ask_others("site.came", {"sites": some})
            names = ", ".join(str(each["name"]) for each in some)
            for name, answer in zip(self.place.others, answers, strict=True):
                if answer is None:
                    maillog.warned(f"{name} was not told which sites are there: {names}")

    async def _ask_others(self, question: str, arguments: Fields) -> list[Fields | None]:
        """Each other worker's answer; None: it gave none."""

        async def ask(name: str) -> Fields | None:
            try:
                return (await self._client(name).ask(question, arguments)).ok
            except ControlError:
                return None

        return await asyncio.gather(*(ask(name) for name in self.place.others))

    def _client(self, name: str) -> ControlClient:
        return ControlClient(self.place.run_folder, name, ASK_S)

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(_guarded(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """The worker stops."""
        for task in list(self._tasks):
            task.cancel()


async def _guarded(work: Awaitable[None], name: str) -> None:
    try:
        await work
    except SpoolError as error:
        maillog.warned(f"{name}: {error}")
    except Exception:
        maillog.failed(name)


def _portions(rows: Sequence[Fields]) -> list[list[Fields]]:
    return [list(rows[start : start + TOLD_MAX]) for start in range(0, len(rows), TOLD_MAX)]


def _names(request: Fields) -> list[str]:
    names = request.get("names")
    if not isinstance(names, list):
        raise ControlError("not a list of sites", 64)
    return [str(name) for name in names]


def new_sites(number: int, workers_count: int, data_dir: str, clock: Clock, link_clock: LinkClock) -> Sites:
    """For a worker."""
    run_folder = os.path.join(data_dir, "run")
    return Sites(Place(number, workers_count, data_dir, run_folder), clock, link_clock)
