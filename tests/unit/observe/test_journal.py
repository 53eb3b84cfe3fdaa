"""The journal: a file a day, whole lines only, gone on with whatever becomes of the file, and never too much."""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from cmail.observe import journal, journal_files, log_file, maillog
from cmail.observe.journal import JournalWriter
from cmail.observe.journal_files import day_of, pieces, prune
from cmail.observe.settings import LogSettings

NOON: Final = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))
MIB: Final = 2**20


class Wall:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def writer(folder: Path, wall: Wall) -> Iterator[JournalWriter]:
    made = JournalWriter(str(folder), MIB, wall)
    yield made
    made.close()


def names(folder: Path) -> list[str]:
    return [os.path.basename(piece.path) for piece in pieces(str(folder))]


def test_a_line_stands_in_the_file_of_its_day(writer: JournalWriter, folder: Path, wall: Wall) -> None:
    """The day is the local one; the files are for the server alone."""
    writer.write(b"a\n")
    wall.now = day_of(NOON)[2] - 0.001
    writer.write(b"b\n")
    wall.now = day_of(NOON)[2]
    writer.write(b"c\n")
    assert (folder / "2026-11-23.log").read_bytes() == b"a\nb\n"
    assert (folder / "2026-11-24.log").read_bytes() == b"c\n"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "2026-11-23.log").stat().st_mode) == 0o600


def test_a_clock_that_is_set_back_leads_back(writer: JournalWriter, folder: Path, wall: Wall) -> None:
    """The day of a line is that of the clock, also when it goes backwards."""
    writer.write(b"a\n")
    wall.now -= 86400
    writer.write(b"b\n")
    assert (folder / "2026-11-22.log").read_bytes() == b"b\n"


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Europe/Berlin", "Australia/Lord_Howe", "UTC"])
def test_every_moment_is_in_its_day(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through two years of a zone, with days of 23 and 25 hours and midnights that are left out: a moment is
    within the day that is named, and the day ends."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for hour in range(2 * 365 * 24):
            moment = 1_500_000_000 + hour * 3600
            day, begins_s, ends_s = day_of(moment)
            assert begins_s <= moment < ends_s <= begins_s + 25 * 3600
            assert day == time.strftime("%Y-%m-%d", time.localtime(moment))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_lines_of_processes_do_not_mix(folder: Path) -> None:
    """Several processes write many lines at once; each line is whole."""
    pids = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                writer = JournalWriter(str(folder), 1 << 40)
                line = b"%d" % number * 500 + b"\n"
                for _ in range(200):
                    writer.write(line * 3)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    lines = b"".join(path.read_bytes() for path in folder.iterdir()).split(b"\n")
    assert len(lines) == 3 * 200 * 3 + 1
    assert {line for line in lines if line} == {b"%d" % number * 500 for number in range(3)}


GONE: list[tuple[str, Callable[[Path], object]]] = [
    ("the file was removed", lambda folder: (folder / "2026-11-23.log").unlink()),
    ("it was set aside", lambda folder: (folder / "2026-11-23.log").rename(folder / "2026-11-23.log.1")),
    ("its folder was moved", lambda folder: folder.rename(folder.with_name("elsewhere"))),
]


@pytest.mark.parametrize("change", [row[1] for row in GONE], ids=[row[0] for row in GONE])
def test_a_file_that_is_gone_is_made_again(
    writer: JournalWriter, folder: Path, change: Callable[[Path], None]
) -> None:
    """At the next look lines go to a file of the day's name again, and there is nothing to complain of."""
    writer.write(b"before\n")
    change(folder)
    assert writer.heal() == ""
    writer.write(b"after\n")
    assert (folder / "2026-11-23.log").read_bytes() == b"after\n"
    assert writer.trouble() == ""


def test_a_full_disk_is_said_once_and_ends(
    writer: JournalWriter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is raised; it is told once when it begins and once when it is over; a line that was cut does not
    swallow the next one."""
    real, room = os.write, [4]

    def write(fd: int, octets: bytes) -> int:
        if not room:
            return real(fd, octets)
        if room[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken, room[0] = octets[: room[0]], 0
        return real(fd, taken)

    writer.write(b"")
    monkeypatch.setattr("cmail.observe.journal.os.write", write)
    monkeypatch.setattr(journal, "_has_room", lambda _fd: not room)
    writer.write(b"first\n")
    writer.write(b"second\n")
    assert "has lines missing: No space left on device" in writer.heal()
    assert (writer.heal(), "lines missing" in writer.trouble()) == ("", True)
    room.clear()
    writer.write(b"third\n")
    assert "written again" in writer.heal()
    assert (writer.heal(), writer.trouble()) == ("", "")
    assert (folder / "2026-11-23.log").read_bytes() == b"firs\nthird\n"


@pytest.mark.parametrize("what", ["a file in place of the folder", "a link", "a pipe"])
def test_what_is_no_file_of_ours_is_not_written(folder: Path, wall: Wall, what: str) -> None:
    """A link leads nowhere, a pipe holds nobody up, and a folder that cannot be made is said."""
    target = folder.with_name("target")
    target.write_bytes(b"")
    if what.startswith("a file"):
        folder.write_bytes(b"")
    else:
        folder.mkdir()
        path = folder / "2026-11-23.log"
        path.symlink_to(target) if what == "a link" else os.mkfifo(path)
    writer = JournalWriter(str(folder), MIB, wall)
    writer.write(b"line\n")
    assert writer.trouble() and target.read_bytes() == b""


def test_a_file_that_nobody_prunes_ends_somewhere(folder: Path, wall: Wall) -> None:
    """With more in it than may be kept at all it is written no more, which is said; once it is set aside it goes
    on."""
    writer = JournalWriter(str(folder), 1000, wall)
    writer.write(b"x" * 1001 + b"\n")
    assert "nobody removed old days" in writer.heal()
    wall.now += 60
    writer.write(b"more\n")
    path = folder / "2026-11-23.log"
    assert path.stat().st_size == 1002
    path.rename(folder / "2026-11-23.log.1")
    assert "written again" in writer.heal()
    writer.write(b"more\n")
    assert path.read_bytes() == b"more\n"


def fill(folder: Path, **sizes: int) -> None:
    folder.mkdir(exist_ok=True)
    for name, size in sizes.items():
        (folder / name.replace("_", "-").replace("x", ".")).write_bytes(b"l" * (size - 1) + b"\n")


KEPT: list[tuple[str, dict[str, int], timedelta, int, list[str]]] = [
    (
        "days that are too old go",
        {"d2026_10_23xlog": 10, "d2026_10_24xlog": 10, "d2026_11_23xlog": 10},
        timedelta(days=30),
        MIB,
        ["2026-10-24.log", "2026-11-23.log"],
    ),
    (
        "what is too much goes, oldest first",
        {
            "d2026_11_21xlog": 400_000,
            "d2026_11_22xlogx1": 400_000,
            "d2026_11_22xlog": 400_000,
            "d2026_11_23xlog": 9,
        },
        timedelta(days=30),
        MIB,
        ["2026-11-22.log.1", "2026-11-22.log", "2026-11-23.log"],
    ),
    (
        "a day that grows is set aside in pieces",
        {"d2026_11_23xlogx7": 10, "d2026_11_23xlog": 300_000},
        timedelta(days=30),
        MIB,
        ["2026-11-23.log.7", "2026-11-23.log.8"],
    ),
    (
        "of one day the oldest piece goes first",
        {"d2026_11_23xlogx9": 500_000, "d2026_11_23xlogx10": 500_000, "d2026_11_23xlog": 200_000},
        timedelta(days=30),
        MIB,
        ["2026-11-23.log.10", "2026-11-23.log"],
    ),
    (
        "today stays, however short the time",
        {"d2026_11_22xlog": 10, "d2026_11_23xlog": 10},
        timedelta(seconds=1),
        MIB,
        ["2026-11-23.log"],
    ),
    (
        "today stays, however little may be kept",
        {"d2026_11_22xlog": 10, "d2026_11_23xlog": 10},
        timedelta(days=30),
        0,
        ["2026-11-23.log"],
    ),
]


@pytest.mark.parametrize(
    ("sizes", "keep", "size_max", "kept"), [r[1:] for r in KEPT], ids=[r[0] for r in KEPT]
)
def test_prune(folder: Path, sizes: dict[str, int], keep: timedelta, size_max: int, kept: list[str]) -> None:
    """What stays, oldest first."""
    fill(folder, **{name[1:]: size for name, size in sizes.items()})
    prune(str(folder), keep, size_max, wall_s=NOON)
    assert names(folder) == kept


def test_prune_touches_nothing_else(folder: Path) -> None:
    """A file whose name is not ours stays, whatever its age."""
    folder.mkdir()
    others = {"2020-13-01.log", "2020-01-01.log.gz", "2020-01-01.log.0", "notes", "2020-01-01.log.x"}
    for name in others:
        (folder / name).touch()
    prune(str(folder), timedelta(days=1), 0, wall_s=NOON)
    assert {path.name for path in folder.iterdir()} == others


def test_mail_needs_the_room_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is nearly full older days go, as many as it takes; what is written now stays."""
    fill(folder, **{"2026_11_20xlog": 10, "2026_11_21xlog": 10, "2026_11_23xlog": 10})
    free = iter([True, True, False])
    monkeypatch.setattr(journal_files, "_is_short", lambda _folder, _free: next(free, True))
    prune(str(folder), timedelta(days=30), MIB, 1000, wall_s=NOON)
    assert names(folder) == ["2026-11-23.log"]


def test_the_log_is_in_the_journal_too(tmp_path: Path, folder: Path) -> None:
    """Each line stands in both, octet for octet; trouble with the one is told in the other."""
    log = tmp_path / "mail.log"
    log_file.open(LogSettings("postfix", str(log)), "mx", "worker-0")
    log_file.keep_journal(str(folder), MIB)
    try:
        maillog.noted("grüße\nNov 23 04:27:14 mx cmail/qmgr[1]: forged\x1b[2J")
        [path] = folder.iterdir()
        assert path.read_bytes() == log.read_bytes()
        assert log.read_bytes().count(b"\n") == 1
        log_file.limit_journal(1)
        log_file.heal()
        assert "nobody removed old days" in log.read_text() and "lines missing" in log_file.trouble()
    finally:
        log_file.keep_journal("", 0)
        log_file.open(LogSettings())
