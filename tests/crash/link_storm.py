"""Link storm: a site and its hub, both CMail, and a mailbox elsewhere, over a cable that comes and goes, while their
processes are killed.

    CMAIL_STORM_SEED=7 CMAIL_LINK_STORM_S=60 python -m tests.torture link

Mail for the site waits at the hub until the site kicks it (ATRN); what people at the site write goes out by the hub;
what lies in the mailbox is collected. Nothing may be lost or bounced; what is collected comes once, whatever is
killed; of the rest twice comes at most what a kill or a cut excuses; what a cable costs is no attempt."""

import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from cmail.net.control import ControlError
from tests.support.atrn_hub import hub_context
from tests.support.house import RunningCmail, reachable, wait_for
from tests.support.hub_and_site import CREW, hub_of, site_of
from tests.support.ledger import Acknowledged, Senders, balance_of, message, queue_ids, tags_of
from tests.support.netns import FAR, Net, There
from tests.support.scripted_pop3 import ScriptedPop3
from tests.support.torture import Say, Summary

STORM_S: Final = float(os.environ.get("CMAIL_LINK_STORM_S", "70"))  # of each of the two plans
END_S: Final = 150.0
BACK_S: Final = 90.0
RATE: Final = 12.0  # messages a second, each way
SIZES: Final = (800, 3000, 90_000, 1500, 300_000)
POP3_EACH_S: Final = 0.4
TWICE_MAX: Final = 20  # by one kill or cut: what of one connection has no reply yet
ANNA: Final = "anna@example.org"
PLANS: Final = {
    "always": "",
    "exchanges": '\n[exchange]\nmessages = 8\nevery = "1m"\n',
}
_TABLES: Final = """
[tls]
ca_file = "{authority}"

[queue]
retry = ["1s"]

[[collect]]
name = "isp"
protocol = "pop3"
host = "{far}"
port = {pop3}
tls = "implicit"
username = "carla"
password_file = "{password}"
to = "{to}"
{plan}"""


class LinkStorm:
    """`with LinkStorm(plan, folder, seed) as storm:` the load begins; do() lets something happen; finish()."""

    def __init__(self, plan: str, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.cuts = self.windows = self.hub_kills = 0
        self.broken: list[str] = []
        self.collected: list[str] = []  # tags of what was put into the mailbox elsewhere
        self._plan, self._folder = plan, folder
        self._stack = ExitStack()
        self._is_over = threading.Event()
        context, self._authority = hub_context(FAR)
        self.pop3 = ScriptedPop3(host=FAR, tls=context)

    def __enter__(self) -> Self:
        with self._stack as stack:
            self.net = stack.enter_context(Net())
            self.net.wire("wire")
            self.there = stack.enter_context(There(self.net, self.pop3))
            self.hub, self.ship = self._servers()
            stack.enter_context(self.hub)
            stack.enter_context(self.ship)
            self.to_ship = Senders(lambda: 25, (CREW,), host=FAR, senders=2, rate=RATE, sizes=SIZES, name="h")
            self.from_ship = Senders(lambda: 25, (ANNA,), senders=2, rate=RATE, sizes=SIZES, name="s")
            self.net.outside(self.to_ship.__enter__)  # threads are where they were begun
            self.net.inside(self.from_ship.__enter__)
            stack.callback(self._end_load)
            self._filler = threading.Thread(target=self._fill, name="fills the mailbox")
            self._filler.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            for cmail in (self.hub, self.ship):
                error.add_note("a log ends with:\n" + "\n".join(cmail.log().splitlines()[-40:]))
        self._stack.__exit__(kind, error, trace)

    def _servers(self) -> tuple[RunningCmail, RunningCmail]:
        place = reachable(self._folder)
        password, authority = place / "password", place / "authority.pem"
        password.write_text("secret\n")
        password.chmod(0o600)
        self._authority.cert_pem.write_to_path(authority)
        authority.chmod(0o644)
        tables = _TABLES.format(
            authority=authority,
            far=FAR,
            pop3=self.pop3.port,
            password=password,
            to=CREW,
            plan=PLANS[self._plan],
        )
        hub = hub_of(self.net, self._folder)
        return hub, site_of(self.net, self._folder, "atrn", tables=tables, wait="3s")

    # The load.

    def _fill(self) -> None:
        """New mail in the mailbox elsewhere, now and then."""
        while not self._is_over.wait(POP3_EACH_S):
            tag = f"p{len(self.collected)}"
            content = message(tag, SIZES[len(self.collected) % len(SIZES)])
            self.collected.append(tag)
            self.there.call(lambda tag=tag, content=content: self.pop3.messages.append((tag, content)))  # type: ignore[misc]

    def _end_load(self) -> None:
        self._is_over.set()
        self._filler.join(60)
        for senders in (self.to_ship, self.from_ship):
            senders.stop()
            senders.__exit__(None)

    # What happens.

    def do(self, what: str) -> None:
        """One thing."""
        time.sleep(self.chance.uniform(0.05, 0.8))
        ACTIONS[what](self)

    def cut(self) -> None:
        """The cable is pulled, and put back a moment later; perhaps somebody is killed in between."""
        self.net.cut("wire")
        self._off_line()
        self.net.join("wire")
        self.cuts += 1

    def down(self) -> None:
        """By hand, and up again."""
        self._say("link.down")
        self._off_line()
        self._say("link.up")
        self.cuts += 1

    def flap(self) -> None:
        """So short that hardly anybody notices."""
        for _ in range(3):
            self.net.cut("wire")
            time.sleep(self.chance.uniform(0.0, 0.15))
            self.net.join("wire")
            time.sleep(self.chance.uniform(0.0, 0.3))
        self.cuts += 3

    def route(self) -> None:
        """No way out any more: who connects hears it at once. A worker has just begun, and must not pay for it."""
        self.net.here("route", "del", "default")
        self.kill_child(False, f"worker-{self.chance.randrange(2)}")
        self._off_line()
        self.net.route("wire")
        self.cuts += 1

    def exchange(self) -> None:
        """By hand: kick and collection begin once more, whatever goes on."""
        self._say("link.exchange")

    def kill_child(self, of_hub: bool, name: str) -> None:
        """One process; its supervisor starts it again."""
        cmail = self.hub if of_hub else self.ship
        pid = _pid(cmail, name)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.kills[name.partition("-")[0]] += 1
            self.hub_kills += of_hub
            wait_for(lambda: _pid(cmail, name) not in (0, pid), f"a new {name}", BACK_S)

    def kill_all(self, of_hub: bool) -> None:
        """All processes of one of them, which is started again."""
        cmail = self.hub if of_hub else self.ship
        wait_for(lambda: _pid(cmail, "link"), "it to run", BACK_S)
        cmail.kill()
        self.kills["all"] += 1
        self.hub_kills += of_hub
        cmail.start()

    def _off_line(self) -> None:
        """Until it counts as down, and a moment more, in which nothing is tried. Perhaps somebody dies."""
        wait_for(lambda: self._is_down() is True, "the link to be down", BACK_S)
        before = self._attempts()
        if self.chance.random() < 0.4:
            self.kill_child(False, self.chance.choice(("worker-0", "worker-1", "link")))
        time.sleep(self.chance.uniform(0.2, 1.2))
        for queue_id, count in self._attempts().items():
            if count > before.get(queue_id, 0):
                self.broken.append(f"{queue_id}: attempt {count} was counted while we were off line")
        self.windows += 1

    def _is_down(self) -> bool | None:
        try:
            return bool(self.ship.ask("link", "link.status", is_heard=True)["is_down"])
        except ControlError:
            return None

    def _attempts(self) -> dict[str, int]:
        """Of what is for the Internet at the site."""
        with contextlib.suppress(ControlError):
            return {str(row["id"]): int(row["attempts"]) for row in self.ship.queue() if row["to"] == ANNA}
        return {}

    def _say(self, question: str) -> None:
        """As the command would: again, while nobody is there to hear it."""

        def said() -> bool:
            try:
                self.ship.ask("link", question)
            except ControlError as error:
                return question == "link.exchange" and "no exchange" in error.words
            return True

        wait_for(said, question, BACK_S)

    # The end.

    def finish(self) -> Summary:
        """No further load; the cable stays; all of it arrives."""
        self.net.join("wire")
        self._say("link.up")
        self._end_load()
        self._drain()
        summary = Summary(broken=self.broken)
        at_site, at_hub = tags_of(self.ship.mailbox(CREW)), tags_of(self.hub.mailbox(ANNA))
        queued = queue_ids(self.hub.queue() + self.ship.queue())
        self._judge(summary, self.to_ship.acknowledged, at_site, queued, "to the site")
        self._judge(summary, self.from_ship.acknowledged, at_hub, queued, "from the site")
        self._judge_collected(summary, at_site)
        self._judge_logs(summary)
        self._stack.close()
        return summary

    def _drain(self) -> None:
        until = time.monotonic() + END_S
        while time.monotonic() < until:
            self._say("link.exchange")
            moment = time.monotonic() + 3
            while time.monotonic() < moment:
                with contextlib.suppress(ControlError):
                    if not (self.pop3.messages or self.hub.queue() or self.ship.queue()):
                        return
                time.sleep(0.1)

    def _judge(
        self,
        summary: Summary,
        acknowledged: Mapping[str, Acknowledged],
        arrived: Counter[str],
        queued: set[str],
        what: str,
    ) -> None:
        balance = balance_of(acknowledged, {tag: n for tag, n in arrived.items() if tag[0] != "p"}, queued)
        summary.add(balance)
        summary.expect(not balance.in_queue, f"{what}: {balance.in_queue} still wait though all is well")
        most = TWICE_MAX * (self.kills.total() + self.cuts)
        summary.expect(len(balance.duplicated) <= most, f"{what}: {len(balance.duplicated)} twice")
        often = {
            tag: count
            for tag, count in balance.duplicated.items()
            if count > 1 + self.kills.total() + self.cuts
        }
        summary.expect(not often, f"{what}: more often than anything happened: {often}")
        summary.notes.append(f"{what}: {balance.accepted} accepted, {len(balance.duplicated)} twice")

    def _judge_collected(self, summary: Summary, at_site: Counter[str]) -> None:
        """Each once, exactly."""
        counts = {tag: at_site.get(tag, 0) for tag in self.collected}
        lost = [tag for tag, count in counts.items() if not count]
        twice = {tag: count for tag, count in counts.items() if count > 1}
        summary.accepted += len(counts)
        summary.delivered += len(counts) - len(lost)
        summary.lost += len(lost)
        summary.duplicated += len(twice)
        summary.expect(not lost, f"collected: lost {lost[:20]}")
        summary.expect(not twice, f"collected: more than once {twice}")
        summary.notes.append(f"collected: {len(counts)}, {len(twice)} twice")

    def _judge_logs(self, summary: Summary) -> None:
        for name, cmail in (("hub", self.hub), ("site", self.ship)):
            log = cmail.log()
            for words in ("status=bounced", "status=expired", "returned to sender", "Traceback"):
                at = log.find(words)
                summary.expect(
                    at < 0, f"the log of the {name} has {words!r}: {log[max(0, at - 300) : at + 1500]}"
                )
        deferred = [line for line in self.ship.log().splitlines() if "status=deferred" in line]
        if not self.hub_kills:  # nobody but the cable was in the way
            summary.expect(not deferred, f"attempts were counted though the hub was there: {deferred[:3]}")
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kills.items()))
        summary.notes.append(f"{self._plan}: {self.cuts} cuts, {self.windows} times off line, kills: {kinds}")


def _pid(cmail: RunningCmail, name: str) -> int:
    """0 while it is not running."""
    try:
        found = {child["name"]: child for child in cmail.status()["children"]}
    except ControlError:
        return 0
    child = found.get(name)
    return int(child["pid"] or 0) if child is not None and child["state"] == "running" else 0


ACTIONS: Final[dict[str, Callable[[LinkStorm], None]]] = {
    "cut": LinkStorm.cut,
    "down": LinkStorm.down,
    "flap": LinkStorm.flap,
    "route": LinkStorm.route,
    "exchange": LinkStorm.exchange,
    "worker of the site": lambda storm: storm.kill_child(False, f"worker-{storm.chance.randrange(2)}"),
    "link of the site": lambda storm: storm.kill_child(False, "link"),
    "all of the site": lambda storm: storm.kill_all(False),
    "worker of the hub": lambda storm: storm.kill_child(True, f"worker-{storm.chance.randrange(2)}"),
    "all of the hub": lambda storm: storm.kill_all(True),
}
_WEIGHTS: Final = {
    "cut": 5, "down": 3, "flap": 2, "route": 3, "exchange": 5, "worker of the site": 5, "link of the site": 4,
    "all of the site": 2, "worker of the hub": 4, "all of the hub": 2,
}  # fmt: skip


def blow(plan: str, folder: Path, seed: int, seconds: float, say: Say) -> Summary:
    """One plan, for so long, at random."""
    with LinkStorm(plan, folder, seed) as storm:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            what = storm.chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
            say(f"{plan}: {storm.kills.total()} kills, {storm.cuts} cuts; now: {what}")
            storm.do(what)
        return storm.finish()


def torture(say: Say) -> Summary:
    """Both plans."""
    total = Summary()
    if os.geteuid():
        total.notes.append("not tried: network namespaces need root")
        return total
    seed = int(os.environ.get("CMAIL_STORM_SEED") or random.SystemRandom().randrange(1_000_000))
    total.notes.append(f"CMAIL_STORM_SEED={seed}")
    for number, plan in enumerate(PLANS):
        with tempfile.TemporaryDirectory(prefix="cmail-link-storm-") as folder:
            found = blow(plan, Path(folder), seed + number, STORM_S, say)
        for name in ("accepted", "delivered", "in_queue", "lost", "duplicated"):
            setattr(total, name, getattr(total, name) + getattr(found, name))
        total.notes += found.notes
        total.broken += [f"{plan}: {words}" for words in found.broken]
    return total
