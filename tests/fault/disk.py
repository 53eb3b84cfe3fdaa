"""Disk: every fault of a disk under load, again and again; nothing acknowledged is lost, nothing sent twice."""

import random
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fault.disk_faults import LARGE, NO_RESERVE, ROWS, SOON, House, Row, has_words, house, troubles
from tests.support.house import wait_for
from tests.support.ledger import Balance, Senders, balance_of, queue_ids, tags_of
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx
from tests.support.torture import Say, Summary

ANNA: Final = "anna@example.org"
FAR: Final = "b@example.net"
RANDOM_S: Final = 100.0  # how long faults come at random
WELL_S: Final = 45.0
RATE: Final = 30.0
ARRIVED_S: Final = 10.0


@dataclass
class Load:
    """Senders of small and of large messages at a house, for a mailbox here and for a next hop."""

    house: House
    sink: SinkMx
    small: Senders
    large: Senders

    @property
    def acknowledged_count(self) -> int:
        """Of both."""
        return len(self.small.acknowledged) + len(self.large.acknowledged)

    def wait_for_more(self, timeout_s: float = WELL_S) -> None:
        """Small and large messages are taken again."""
        small, large = len(self.small.acknowledged), len(self.large.acknowledged)
        wait_for(lambda: len(self.small.acknowledged) > small, "a small message to be taken", timeout_s)
        wait_for(lambda: len(self.large.acknowledged) > large, "a large message to be taken", timeout_s)

    def balance(self, timeout_s: float = 90) -> Balance:
        """When all of it has come to its end. The sink is in another thread: what it has just said yes to may
        be counted a moment later than our queue is empty."""
        wait_for(lambda: not self.house.cmail.queue(), "an empty queue", timeout_s)
        _comes(lambda: not self._balance().lost, ARRIVED_S)
        return self._balance()

    def _balance(self) -> Balance:
        arrived: Counter[str] = tags_of(taken.content for taken in self.sink.taken)
        arrived += tags_of(self.house.cmail.mailbox(ANNA))
        acknowledged = self.small.acknowledged | self.large.acknowledged
        tried = self.small.tried | self.large.tried
        return balance_of(acknowledged, arrived, queue_ids(self.house.cmail.queue()), tried)


class LoadedHouse:
    """`with LoadedHouse(folder) as load:`; the senders end before the balance is asked for: end()."""

    def __init__(self, folder: Path, rate: float = RATE) -> None:
        self._folder, self._rate = folder, rate
        self._stack = ExitStack()

    def __enter__(self) -> Load:
        peers = self._stack.enter_context(Peers())
        sink = peers.start(SinkMx())
        relay = f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n'
        built = self._stack.enter_context(house(self._folder, relay + SOON + NO_RESERVE, "256m"))
        port = built.cmail.port("smtp")
        both = [ANNA, FAR]
        small = Senders(lambda: port, both, senders=3, rate=self._rate, name="s")
        large = Senders(lambda: port, both, senders=1, rate=self._rate / 15, size=LARGE, name="l")
        self._stack.enter_context(small)
        self._stack.enter_context(large)
        return Load(built, sink, small, large)

    def __exit__(self, *exc: object) -> None:
        self._stack.__exit__(*exc)  # type: ignore[arg-type]


def try_fault(load: Load, row: Row) -> list[str]:
    """One fault until the status has its words, and until all is well again; what did not hold."""
    cmail = load.house.cmail
    pids = _pids(load)
    before = cmail.log().count(row.logged)
    broken = []
    with row.fault(load.house):
        if not _comes(lambda: has_words(cmail, row.words), 20):
            broken.append(f"{row.name}: the status does not say so, but {troubles(cmail)}")
        if not _comes(lambda: cmail.log().count(row.logged) > before, 10):
            broken.append(f"{row.name}: the log does not say {row.logged!r}")
    try:
        load.wait_for_more()
    except AssertionError as error:
        broken.append(f"{row.name}: {error}")
    if not _comes(lambda: not troubles(cmail), WELL_S):
        broken.append(f"{row.name}: it is over and the status says {troubles(cmail)}")
    if _pids(load) != pids:
        broken.append(f"{row.name}: processes were started again")
    return broken


def torture(say: Say) -> Summary:
    """Each fault once with its words, then faults of random length at random moments."""
    summary = Summary()
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    summary.notes.append(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="cmail-disk-") as folder, LoadedHouse(Path(folder)) as load:
        load.wait_for_more()
        for row in ROWS:
            say(f"{row.name}, {load.acknowledged_count} accepted")
            summary.broken += try_fault(load, row)
        count = _at_random(load, chance, say)
        summary.notes.append(f"{len(ROWS)} faults one by one, {count} at random moments")
        _settle(load, summary, say)
    return summary


def _at_random(load: Load, chance: random.Random, say: Say) -> int:
    until, count, pids = time.monotonic() + RANDOM_S, 0, _pids(load)
    while time.monotonic() < until:
        row = chance.choice(ROWS)
        say(f"at random: {row.name}, {load.acknowledged_count} accepted")
        with row.fault(load.house):
            time.sleep(chance.expovariate(1.5))
        time.sleep(chance.expovariate(1.0))
        count += 1
    assert _pids(load) == pids, "processes were started again"
    return count


def _settle(load: Load, summary: Summary, say: Say) -> None:
    load.wait_for_more()
    load.small.stop()
    load.large.stop()
    say("waiting for an empty queue")
    balance = load.balance()
    summary.add(balance)
    summary.expect(not balance.duplicated, f"sent again by the same process: {balance.duplicated}")
    summary.expect(not balance.strange, f"from nowhere: {balance.strange[:5]}")
    log = load.house.cmail.log()
    acknowledged = load.small.acknowledged | load.large.acknowledged
    for tag in balance.lost[:3]:
        queue_id = acknowledged[tag].queue_id
        summary.broken += [line for line in log.splitlines() if queue_id in line]
    summary.expect("Traceback" not in log, "a trace in the log")
    summary.expect("is started again" not in log, "a process was started again")
    is_well = _comes(lambda: not troubles(load.house.cmail), WELL_S)
    summary.expect(is_well, f"the status tells of trouble at the end: {troubles(load.house.cmail)}")


def _pids(load: Load) -> dict[str, int]:
    """As the kernel has them: the control socket may be away."""
    process = load.house.cmail.process
    assert process is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {Path(f"/proc/{pid}/comm").read_text().strip(): int(pid) for pid in children}


def _comes(holds: object, timeout_s: float) -> bool:
    try:
        wait_for(holds, timeout_s=timeout_s)  # type: ignore[arg-type]
    except AssertionError:
        return False
    return True
