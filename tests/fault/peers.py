"""Next hops in trouble, in the running server: a part of `make torture`.

Every cell of the table is a domain of its own, once with one host and once with a second that is well; all of
them are in trouble at the same time. What a message becomes, its words in the log and in the queue are as the
table says, other domains do not wait, memory stays; when all are well again everything arrives, once, but for what
was in doubt. The time-outs of the program are a tenth of what they are, all else is as installed."""

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.fault.peers_agent import faults, tables, try_all
from tests.fault.peers_scene import WELL_COUNT, Domain, HastyCmail, Scene, make_scene
from tests.support.fake_dns import FakeDnsServer
from tests.support.house import RunningCmail, wait_for
from tests.support.ledger import Senders, balance_of, queue_ids, tags_of
from tests.support.peers import Peers
from tests.support.torture import Say, Summary

SETTLED_S: Final = 240.0  # until all cells are as the table says
HEALED_S: Final = 180.0
WELL_S: Final = 15.0  # mail for those who are well is there within this
GROWTH_MAX_KIB: Final = 150 * 1024  # of a worker, over all of it
DOUBT: Final = "it may have arrived, and then arrives twice"


@dataclass
class Look:
    """How everything stands at one moment."""

    waiting: dict[str, dict[str, Any]]
    bounced: dict[str, str]

    def fate(self, domain: Domain) -> str:
        """The letter of a domain; '' while its message is under way."""
        if domain.to in self.bounced:
            return "b"
        row = self.waiting.get(domain.to)
        if row is None:
            return "d" if domain.arrived() else ""
        if not row["reason"]:
            return ""
        return "D" if DOUBT in row["reason"] else "w"

    def fits(self, domain: Domain) -> bool:
        """Whether that is what the table says."""
        wanted = {"n": "w", "e": "wD" if domain.second is None else "dD"}.get(
            domain.expected, domain.expected
        )
        fate = self.fate(domain)
        return bool(fate) and fate in wanted


def look(cmail: RunningCmail, scene: Scene) -> Look:
    """Look around."""
    bounced: dict[str, str] = {}
    for taken in list(scene.reports.taken):
        text = taken.content.decode()
        bounced |= dict.fromkeys(re.findall(r"^Final-Recipient: rfc822; *(\S+)", text, re.MULTILINE), text)
    rows = [row for n in range(2) for row in _rows(cmail, f"worker-{n}")]
    return Look({row["to"]: row for row in rows}, bounced)


def _rows(cmail: RunningCmail, name: str) -> Iterator[dict[str, Any]]:
    yield from cmail.rows(name, "queue.list", filter={}, limit=10_000)


def flush(cmail: RunningCmail, **what: str) -> None:
    """`cmail queue flush`."""
    for name in ("worker-0", "worker-1"):
        cmail.ask(name, "queue.flush", filter=what)


def torture(say: Say) -> Summary:
    """The whole matrix."""
    summary = Summary()
    with tempfile.TemporaryDirectory() as folder:
        say("each cell at the agents")
        told = asyncio.run(try_all(tables(Path(folder))))
        for name, went in told.items():
            summary.broken += [f"{name}: {words}" for words in faults(went)]
        summary.notes.append(f"{sum(map(len, told.values()))} cells at the agents")
        with Peers() as peers:
            _run(Path(folder), peers, summary, say)
    return summary


def _run(folder: Path, peers: Peers, summary: Summary, say: Say) -> None:
    scene = make_scene()
    peers.start(scene.farm)
    dns = peers.start(FakeDnsServer(scene.records))
    more = (
        f'[dns]\nservers = ["{dns.address}"]\n[queue]\nretry = ["3h"]\n'
        f'[smtp]\ndelivery = "mx"\n[smtp.advanced]\noutbound_port = {scene.farm.port}\n'
    )
    with HastyCmail(folder, more=more) as cmail:
        before = _memory_kib(cmail)
        say(f"{len(scene.domains)} domains in trouble")
        senders = Senders(
            lambda: cmail.port("smtp"), [d.to for d in scene.domains], count=len(scene.domains), senders=1
        )
        with senders:
            pass
        others = _others_go_on(cmail, scene, summary)
        _compare(cmail, scene, summary, say)
        doubted = {domain.to: domain.arrived() for domain in scene.domains if domain.cell.fate in "De"}
        _second_try(cmail, scene, summary, say)
        _heal(cmail, peers, scene, summary, say)
        _count(cmail, scene, summary, [senders, others], doubted)
        grown = max(after - start for after, start in zip(_memory_kib(cmail, "VmHWM"), before, strict=True))
        endless = sum(domain.sink.endless_octets for domain in scene.domains)
        summary.notes.append(
            f"{len(scene.domains)} domains in the running server; {endless / 2**20:.0f} MiB of endless replies;"
            f" a worker grew by {grown / 1024:.0f} MiB at most"
        )
        summary.expect(grown < GROWTH_MAX_KIB, f"a worker grew by {grown} KiB")
        summary.expect("Traceback" not in cmail.log(), "a traceback in the log")


def _memory_kib(cmail: RunningCmail, figure: str = "VmRSS") -> list[int]:
    found = []
    for name in ("worker-0", "worker-1"):
        status = Path(f"/proc/{cmail.pid(name)}/status").read_text()
        found.append(int(re.findall(rf"^{figure}:\s+(\d+)", status, re.MULTILINE)[0]))
    return found


def _others_go_on(cmail: RunningCmail, scene: Scene, summary: Summary) -> Senders:
    """Mail for those who are well, while all others are in trouble."""
    names = [f"b@well{n}.example.net" for n in range(WELL_COUNT)]
    began = time.monotonic()
    with Senders(lambda: cmail.port("smtp"), names, count=WELL_COUNT, senders=1, name="well") as senders:
        pass
    while not all(sink.taken for sink in scene.well) and time.monotonic() < began + 60:
        time.sleep(0.05)
    took_s = time.monotonic() - began
    summary.notes.append(f"{WELL_COUNT} messages for who is well: {took_s:.1f} s, meanwhile")
    summary.expect(took_s < WELL_S, f"mail for domains that are well took {took_s:.1f} s")
    return senders


def _compare(cmail: RunningCmail, scene: Scene, summary: Summary, say: Say) -> None:
    """Wait until everything is as the table says; then the words."""
    until = time.monotonic() + SETTLED_S
    while True:
        seen = look(cmail, scene)
        other = [domain for domain in scene.domains if not seen.fits(domain)]
        say(f"{len(scene.domains) - len(other)} of {len(scene.domains)} cells as the table says")
        if not other or time.monotonic() > until:
            break
        time.sleep(1)
    log = cmail.log()
    for domain in scene.domains:
        reason = seen.waiting.get(domain.to, {}).get("reason", "") or seen.bounced.get(domain.to, "")
        name = f"{domain.cell.name}, {domain.to}"
        if domain in other:
            summary.broken.append(f"{name}: {seen.fate(domain)!r}, not {domain.expected!r}: {reason[:200]!r}")
            continue
        if domain.expected in "nwDb":
            summary.expect(_plain(domain.cell.words) in _plain(reason), f"{name}: {reason[:200]!r}")
        lines = [line for line in log.split("\n") if f"to=<{domain.to}>" in line]
        summary.expect(lines, f"{name}: no line in the log")
        if seen.fate(domain) == "D":
            summary.expect(any(DOUBT in line for line in lines), f"{name}: the log does not say the doubt")
    _explain(cmail, seen, summary)


def _plain(text: str) -> str:
    """Without the line ends of a report."""
    return " ".join(text.split())


def _explain(cmail: RunningCmail, seen: Look, summary: Summary) -> None:
    """`cmail queue show` and `why` speak of the doubt."""
    row = next((row for row in seen.waiting.values() if DOUBT in row["reason"]), None)
    if row is None:
        summary.broken.append("nothing is in doubt")
        return
    for verb, words in (("show", DOUBT), ("why", "may get it twice")):
        command = [
            sys.executable,
            "-m",
            "cmail",
            "queue",
            verb,
            str(row["id"]),
            "--config",
            str(cmail.config),
        ]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        summary.expect(
            words in _plain(said.stdout), f"queue {verb}: {said.stdout[:500]!r} {said.stderr[:200]!r}"
        )


def _second_try(cmail: RunningCmail, scene: Scene, summary: Summary, say: Say) -> None:
    """Where a first host always breaks off at the end of the content, the next attempt goes to the second."""
    say("second attempts, to second hosts")
    doubtful = [domain for domain in scene.domains if domain.second is not None and domain.cell.fate in "De"]
    flush(cmail, to="two@")
    try:
        wait_for(
            lambda: all(domain.second and domain.second.taken for domain in doubtful), "second hosts", 90
        )
    except AssertionError:
        missing = [domain.cell.name for domain in doubtful if domain.second and not domain.second.taken]
        summary.broken.append(f"never tried at the second host: {missing}")


def _heal(cmail: RunningCmail, peers: Peers, scene: Scene, summary: Summary, say: Say) -> None:
    """All are well; flush until nothing waits."""
    for domain in scene.domains:
        peers.heal(domain.sink)
    until = time.monotonic() + HEALED_S
    while seen := look(cmail, scene).waiting:
        say(f"all are well; {len(seen)} wait")
        if time.monotonic() > until:
            summary.broken.append(f"still waiting: {sorted(seen)[:20]}")
            break
        flush(cmail)
        time.sleep(1)


def _count(
    cmail: RunningCmail, scene: Scene, summary: Summary, senders: list[Senders], doubted: dict[str, int]
) -> None:
    """Everything arrived or bounced, once; twice only what was in doubt, and had arrived by then."""
    sinks = [*(d.sink for d in scene.domains), *(d.second for d in scene.domains if d.second), *scene.well]
    arrived = tags_of(taken.content for sink in sinks for taken in sink.taken)
    acknowledged = {tag: told for each in senders for tag, told in each.acknowledged.items()}
    tried = {tag for each in senders for tag in each.tried}
    bounced = look(cmail, scene).bounced
    expected = {domain.to for domain in scene.domains if domain.cell.fate == "b"}
    summary.expect(bounced.keys() == expected, f"bounced otherwise: {sorted(bounced.keys() ^ expected)[:20]}")
    counted = arrived + Counter(tag for tag, told in acknowledged.items() if told.recipient in bounced)
    balance = balance_of(acknowledged, counted, queue_ids(look(cmail, scene).waiting.values()), tried)
    summary.add(balance)
    summary.notes.append(f"{len(bounced)} of the delivered went back as reports, as the table says")
    for tag, count in balance.duplicated.items():
        to = acknowledged[tag].recipient
        summary.expect(count == doubted.get(to, 0) + 1, f"{to} got {tag} {count} times")
    summary.notes.append(f"{len(balance.duplicated)} of {len(doubted)} in doubt had arrived, and came twice")
    summary.expect(not balance.strange, f"arrived and was never sent: {balance.strange[:20]}")
