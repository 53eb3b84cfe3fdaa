"""`cmail backup` while mail flows, is delivered, moved about and killed; `cmail restore` elsewhere finds all of it.

A round: senders, a `sendmail` and a mail program are at work; a backup is made; what got its 250 before the
backup began must be in the restored queue, drop folder or mailboxes, or have been delivered outside before. The
restored server, with another name, folder, user and upstream server, then delivers it, each once."""

import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import apsw

from cmail.cli.leave import leave
from cmail.mail.address import parse_address
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.queue_id import QueueId, print_queue_id
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.ledger import Acknowledged, Balance, Senders, balance_of, message, tags_of
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx
from tests.support.torture import Say, Summary

LOCAL: Final = ("anna@example.org", "carol@example.org")
OUTSIDE: Final = ("b@example.net", "later@example.net")  # the first upstream server puts `later` off
USERS: Final = tuple((address, "secret") for address in LOCAL)
LARGE: Final = 200_000  # octets: content in a file of its own
TORTURE_S: Final = 100.0
MANY: Final = 100_000
RSS_MAX: Final = 120 * 2**20
_SMARTHOST: Final = """
[smtp]
host = "127.0.0.1"
port = {port}
kick = false
"""


def cmail(*words: str, config: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "cmail", *words, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def good(*words: str, config: Path) -> str:
    """Run a command that succeeds; what it said."""
    done = cmail(*words, config=config)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def mail_tags(data: Path, *addresses: str) -> Counter[str]:
    """How often each message is in the mailboxes, all folders of them."""
    roots = [data / "mail" / a.partition("@")[2] / a.partition("@")[0] for a in addresses]
    files = [f for root in roots for kind in ("new", "cur") for f in root.rglob(f"{kind}/*")]
    return tags_of(file.read_bytes() for file in files)


def queue_tags(data: Path) -> Counter[str]:
    """How often each message is in the queue of a server that is down and whose queue nobody has opened: what came
    by the drop folder is known by its content alone, who left it was told no queue id."""
    found: Counter[str] = Counter()
    for file in (data / "spool").glob("*/spool.sqlite3"):
        wal = file.with_name(file.name + "-wal")
        assert not wal.exists() or not wal.stat().st_size, f"{wal} is in use"
        # Immutable: nothing is made beside it that would belong to us and not to the server's user.
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        with apsw.Connection(f"{file.as_uri()}?immutable=1", flags=flags) as db:
            rows = "SELECT m.id, m.is_file, c.octets FROM message m LEFT JOIN content c ON c.id = m.id"
            for queue_id, is_file, octets in db.execute(rows):
                paths = (file.parent / "content").rglob(print_queue_id(QueueId(queue_id)))
                found += tags_of([next(paths).read_bytes() if is_file else octets])
    return found


def balance_in(
    there: RunningCmail, acknowledged: Mapping[str, Acknowledged], outside: Counter[str]
) -> Balance:
    """Of a server that is down: what is in its mailboxes, or was outside before; what waits for it."""
    in_drop = tags_of(file.read_bytes() for file in (there.data / "drop").iterdir())
    arrived = mail_tags(there.data, *LOCAL) + outside + in_drop
    dropped = {f"-{tag}" for tag in queue_tags(there.data)}
    queued = {row["id"] for row in json.loads(good("queue", "list", "--json", config=there.config))}
    return balance_of(acknowledged, arrived, queued | dropped)


class MailProgram:
    """Reads, flags and files away what is in a mailbox, as fast as it may: a message is never deleted."""

    def __init__(self, box: Path) -> None:
        self._box = box
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.moves = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)

    def _run(self) -> None:
        chance = random.Random(1)
        while not (self._box / "new").is_dir():  # made with the first mail, and the last of its folders
            if self._is_over.wait(0.01):
                return
        archive = self._box / ".Archive"
        owner = self._box.stat()
        for folder in (archive, *(archive / kind for kind in ("new", "cur", "tmp"))):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, owner.st_uid, owner.st_gid)
        while not self._is_over.wait(0.005):
            for path in list((self._box / "new").iterdir())[:50]:
                self._move(path, self._box / "cur" / (path.name + ":2,S"))
            for folder, other in ((self._box, archive), (archive, self._box)):
                files = list((folder / "cur").iterdir())
                for path in chance.sample(files, min(20, len(files))):
                    unique = path.name.partition(":")[0]
                    to = other if chance.random() < 0.3 else folder
                    self._move(path, to / "cur" / f"{unique}:2,{chance.choice(('', 'S', 'RS', 'FS'))}")

    def _move(self, path: Path, to: Path) -> None:
        path.rename(to)
        self.moves += 1


class Submitter:
    """A `sendmail` that leaves a message in the drop folder now and then."""

    def __init__(self, data: Path, pause_s: float = 0.05) -> None:
        self._data, self._pause_s = data, pause_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged: dict[str, Acknowledged] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)

    def _run(self) -> None:
        count = 0
        while not self._is_over.wait(self._pause_s):
            tag, count = f"drop{count}", count + 1
            envelope = Envelope(
                parse_address(b"a@example.com"), (Recipient(parse_address(LOCAL[0].encode())),)
            )
            size = LARGE if count % 4 == 0 else 1500
            leave(str(self._data), envelope, [message(tag, size)], 1 << 20)
            self.acknowledged[tag] = left_in_drop(tag)


def left_in_drop(tag: str) -> Acknowledged:
    """`sendmail` has ended well, and has learnt no queue id: balance_in() knows the message by its tag."""
    return Acknowledged(LOCAL[0], f"-{tag}", time.monotonic())


@dataclass
class Scene:
    """A server under load and the place that its backups go to."""

    folder: Path
    peers: Peers
    sink: SinkMx = field(init=False)
    source: RunningCmail = field(init=False)
    rounds: int = 0

    def __post_init__(self) -> None:
        self.sink = self.peers.start(SinkMx(script={"RCPT:later@example.net": b"451 4.2.1 later\r\n"}))
        place = self.folder / "source"
        place.mkdir()
        more = _SMARTHOST.format(port=self.sink.port)
        self.source = RunningCmail(place, more=more, users=USERS)
        # What root makes stands where the server's user can go.
        self.backups = Path(tempfile.mkdtemp(prefix="cmail-backups-"))
        self.backups.chmod(0o755)

    def close(self) -> None:
        """Nothing is left of it."""
        self.source.stop()
        shutil.rmtree(self.backups, ignore_errors=True)

    def elsewhere(self) -> "tuple[RunningCmail, SinkMx]":
        """Another machine, so to speak: its settings stand, its data folder does not."""
        self.rounds += 1
        sink = self.peers.start(SinkMx())
        settings = SETTINGS.replace("mail.example.org", "spare.example.org").replace('"data"', '"other/data"')
        if os.geteuid() == 0:
            settings = settings.replace('user = "nobody"', 'user = "daemon"')
        place = self.folder / f"restored{self.rounds}"
        place.mkdir()
        there = RunningCmail(
            place,
            settings=settings.replace("workers = 2", "workers = 1"),
            more=_SMARTHOST.format(port=sink.port),
        )
        there.data = there.folder / "other/data"
        return there, sink


Meanwhile = Callable[[RunningCmail, "subprocess.Popen[str]"], None]


def round_under_load(
    scene: Scene, meanwhile: Meanwhile, *, rate: float, before: int
) -> tuple[Balance, list[str]]:
    """One backup with its restore; what became of what was acknowledged before it, and what is wrong else."""
    source, wrong = scene.source, list[str]()
    name = f"r{scene.rounds}-"
    everybody = [*LOCAL, *OUTSIDE]
    backup = scene.backups / f"b{scene.rounds}"
    with (
        Senders(lambda: source.port("smtp"), everybody, rate=rate, name=name) as small,
        Senders(
            lambda: source.port("smtp"), everybody, rate=rate / 20, senders=2, size=LARGE, name=f"{name}L"
        ) as large,
        Submitter(source.data) as submitter,
        MailProgram(source.data / "mail/example.org/carol") as program,
    ):
        small.wait_for(before)
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "cmail", "backup", str(backup), "--config", str(source.config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        meanwhile(source, process)
        said = process.communicate(timeout=120)[0]
        # A sink in the same process may not have noted what it has just said 250 to.
        outside = wait_for(lambda: tags_of(taken.content for taken in list(scene.sink.taken)), "mail outside")
        done = {**small.acknowledged, **large.acknowledged, **submitter.acknowledged}
    if process.returncode:
        wrong.append(f"the backup ended with {process.returncode}: {said}")
        return Balance(), wrong
    if not program.moves:
        wrong.append("the mail program moved nothing")
    acknowledged = {tag: each for tag, each in done.items() if each.monotonic < began}
    balance = _restored(
        scene, backup, acknowledged, {each.queue_id for each in done.values()}, outside, wrong
    )
    shutil.rmtree(backup)
    return balance, wrong


def _restored(
    scene: Scene,
    backup: Path,
    acknowledged: dict[str, Acknowledged],
    ids: set[str],
    outside: Counter[str],
    wrong: list[str],
) -> Balance:
    there, sink = scene.elsewhere()
    good("backup", "--verify", str(backup), config=there.config)
    good("restore", str(backup), config=there.config)
    balance = balance_in(there, acknowledged, outside)
    wrong += _rights_of(there.data)
    there.start()
    try:
        good("queue", "flush", config=there.config)  # what was put off keeps its time
        _wait_until_empty(there, wrong)
        with Senders(lambda: there.port("smtp"), LOCAL, count=5, senders=2, name="after") as after:
            pass
        again = {each.queue_id for each in after.acknowledged.values()} & ids
        _wait_until_empty(there, wrong)
    finally:
        there.stop()
    boxes = {address: mail_tags(there.data, address) for address in LOCAL}
    all_of_it = boxes[LOCAL[0]] + boxes[LOCAL[1]] + outside + tags_of(taken.content for taken in sink.taken)
    missing = sorted(tag for tag in acknowledged if not all_of_it[tag])
    if missing:
        wrong.append(f"not delivered by the restored server: {missing[:20]}")
    if again:
        wrong.append(f"queue ids given out a second time: {sorted(again)}")
    # What is dropped can be taken between the last look at the folder and the copy of the queue.
    twice = [tag for tag, count in boxes[LOCAL[0]].items() if count > 1 and not tag.startswith("drop")]
    if twice:
        wrong.append(f"twice in a mailbox: {twice[:20]}")
    shutil.rmtree(there.folder)
    return balance


def _wait_until_empty(there: RunningCmail, wrong: list[str]) -> None:
    drop = there.data / "drop"
    try:
        wait_for(lambda: not there.queue() and not list(drop.iterdir()), "an empty queue")
    except AssertionError as error:
        wrong.append(f"{error}: {there.queue()[:3]} {there.log()[-2000:]}")


def _rights_of(data: Path) -> list[str]:
    """What does not belong to whom it should, or may be read by others."""
    owner = pwd.getpwnam("daemon").pw_uid if os.geteuid() == 0 else os.geteuid()
    wrong = []
    for path in [data, *data.rglob("*")]:
        status = path.lstat()
        is_dropped = path.parent == data / "drop"
        mode = {data: 0o711, data / "drop": 0o1733}.get(path, 0o700 if path.is_dir() else 0o600)
        if is_dropped:
            mode = 0o644
        elif status.st_uid != owner:
            wrong.append(f"{path} belongs to {status.st_uid}")
        if status.st_mode & 0o7777 != mode:
            wrong.append(f"{path} has mode {status.st_mode & 0o7777:o}, not {mode:o}")
    return wrong[:10]


def nothing(_source: RunningCmail, _backup: "subprocess.Popen[str]") -> None:
    """The backup is let run."""


def kill_worker(source: RunningCmail, backup: "subprocess.Popen[str]") -> None:
    """A worker is killed again and again while the backup runs."""
    while backup.poll() is None:
        pid = source.pid("worker-0")
        if pid:
            os.kill(pid, signal.SIGKILL)
        time.sleep(random.uniform(0.1, 0.6))


def kill_all(source: RunningCmail, backup: "subprocess.Popen[str]") -> None:
    """The whole server is killed in the middle, and started again before the backup has ended, if it can be."""
    time.sleep(random.uniform(0.3, 0.9))
    source.kill()
    source.start()


def torture(say: Say) -> Summary:
    """The long part: rounds of each kind until the time is up; then a large queue, by its memory and time."""
    summary = Summary()
    until = time.monotonic() + TORTURE_S
    folder = Path(tempfile.mkdtemp(prefix="cmail-backup-"))
    folder.chmod(0o755)
    try:
        with Peers() as peers:
            scene = Scene(folder, peers)
            try:
                _rounds(scene, until, summary, say)
            finally:
                scene.close()
        say("a large queue")
        _large(folder, summary)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return summary


def _rounds(scene: Scene, until: float, summary: Summary, say: Say) -> None:
    kinds: tuple[Meanwhile, ...] = (nothing, kill_worker, kill_all)
    count = 0
    while time.monotonic() < until:
        kind = kinds[count % len(kinds)]
        say(f"round {count + 1}: {kind.__name__}")
        scene.source.start()  # anew, and with a folder that the rounds before did not fill
        balance, wrong = round_under_load(scene, kind, rate=200, before=400)
        scene.source.stop()
        summary.add(balance)
        summary.broken += [f"round {count + 1}, {kind.__name__}: {words}" for words in wrong]
        shutil.rmtree(scene.source.data)
        scene.sink.taken.clear()
        count += 1
    summary.notes.append(f"{count} backups, each with its restore")


# What the kernel says of a process begins with what the one was that started it, and that is a large one when
# other parts run in it: so a small one starts it.
_MEASURE: Final = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(code)
"""


def measured(*command: str) -> tuple[int, int]:
    """Run a command to its end: its exit code, and the most memory that it took, octets."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *command], stdout=subprocess.PIPE, text=True, timeout=250
    )
    return done.returncode, int(done.stdout)


_FILL: Final = """
import asyncio, os, sys
sys.path.insert(0, os.getcwd())
from cmail.mail.address import parse_address
from cmail.mail.content import from_plain
from cmail.mail.envelope import Envelope, Recipient
from cmail.net.clock import RealClock
from cmail.storage.spool import NewMessage
from cmail.storage.spool_sqlite import SqliteSpool

async def fill(folder, count):
    clock = RealClock()
    spool = SqliteSpool.open(folder, 0, clock)
    envelope = Envelope(None, (Recipient(parse_address(b"later@example.net")),))
    content = from_plain(b"Subject: x\\n\\n" + b"y" * 4000 + b"\\n")
    for start in range(0, count, 1000):
        await asyncio.gather(*(
            spool.accept(NewMessage(spool.new_queue_id(), envelope, content, ("relay",), clock.wall_ms(), 0))
            for _ in range(1000)
        ))
    await spool.close()

asyncio.run(fill(sys.argv[1], int(sys.argv[2])))
"""


def _large(folder: Path, summary: Summary, count: int = MANY) -> None:
    """A large queue and a large mailbox do not take memory in proportion."""
    data = folder / "large"
    box = data / "mail/example.org/anna"
    for name in ("spool", "drop"):
        (data / name).mkdir(parents=True)
    for kind in ("new", "cur", "tmp"):
        (box / kind).mkdir(parents=True)
    for number in range(count // 10):
        (box / "cur" / f"{number}.M1.host:2,S").write_bytes(b"Subject: x\n\ny\n")
    subprocess.run([sys.executable, "-c", _FILL, str(data / "spool"), str(count)], check=True)
    config = folder / "large.toml"
    config.write_text(f'[host]\nhostname = "m.example.org"\ndomains = ["example.org"]\ndata_dir = "{data}"\n')
    began = time.monotonic()
    command = ("-m", "cmail", "backup", str(folder / "b"), "--config", str(config))
    code, rss = measured(sys.executable, *command)
    took_s = time.monotonic() - began
    summary.expect(code == 0, f"the backup of a large queue ended with {code}")
    summary.expect(rss < RSS_MAX, f"it took {rss >> 20} MiB of memory")
    summary.notes.append(
        f"{count} in the queue, {count // 10} in a mailbox: {took_s:.1f} s, {rss >> 20} MiB of memory"
    )
