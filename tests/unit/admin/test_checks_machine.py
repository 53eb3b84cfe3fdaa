"""Checks of the machine: certificate, disk, upstream server; in each of their states."""

import asyncio
import os
from pathlib import Path

import pytest

from cmail.admin.certificates import DAY_MS, Certificate
from cmail.admin.checks import certificate as certificate_check
from cmail.admin.checks import disk, upstream
from cmail.admin.checks.certificate import check_certificate
from cmail.admin.checks.finding import Finding, NotKnownError, State
from cmail.admin.upstream_steps import Step
from cmail.delivery.settings import SmtpSettings
from cmail.net.settings import TlsSettings
from cmail.net.tls_look import Shown
from cmail.storage.self_signed import ensure_certificate
from tests.support.fake_checks import NOW_S, World

G, L, W, U = State.GOOD, State.LOOK, State.WRONG, State.UNKNOWN
NOW_MS = int(NOW_S * 1000)
MIB = 1 << 20


def certificate(
    names: tuple[str, ...] = ("mail.example.org",), days: int = 60, *, is_self_signed: bool = False
) -> Certificate:
    """One that has begun a day ago."""
    return Certificate(names, "x", "Authority", NOW_MS - DAY_MS, NOW_MS + days * DAY_MS, is_self_signed)


CERTIFICATES = [
    ("good", certificate(), "", G, "Authority", False),
    ("a star", certificate(("*.example.org",)), "", G, "*.example.org", False),
    ("ends soon", certificate(days=13), "", L, "13 days", True),
    ("has time", certificate(days=14), "", G, "14 days", False),
    ("ended", certificate(days=-2), "certificate has expired", W, "ended 2 days ago", False),
    ("another name", certificate(("www.example.org",)), "", W, "mail.example.org is not in it", False),
    ("self-signed", certificate(is_self_signed=True), "self-signed certificate", L, "Self-signed", False),
    ("self-signed, ends", certificate(days=3, is_self_signed=True), "self-signed", L, "3 days", True),
    ("without its chain", certificate(), "unable to get local issuer certificate", W, "does not trust", False),
    ("an authority of the house", certificate(), "self-signed certificate in certificate chain", L, "trust", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "refusal", "state", "words", "is_soon"),
    [row[1:] for row in CERTIFICATES],
    ids=[row[0] for row in CERTIFICATES],
)
def test_certificates(shown: Certificate, refusal: str, state: State, words: str, is_soon: bool) -> None:
    """Names, days, chain; what to do; the last 14 days need attention."""
    found = certificate_check.judge(shown, refusal, "mail.example.org", NOW_MS)
    assert (found.state, words in found.found, found.is_soon) == (state, True, is_soon), found
    assert (state is G) == (found.advice == "")


def test_a_certificate_that_does_not_hold_yet() -> None:
    """Renewed by a wrong clock, or looked at by one."""
    early = Certificate(("mail.example.org",), "x", "y", NOW_MS + DAY_MS, NOW_MS + 9 * DAY_MS, False)
    found = certificate_check.judge(early, "", "mail.example.org", NOW_MS)
    assert found.state is W and "not hold yet" in found.found and "clock" in found.advice


def test_the_listener_is_asked_first_and_then_the_file(tmp_path: Path) -> None:
    """What clients are shown counts; a server that does not run is read from its file; none is not known."""
    asyncio.run(_look_at(tmp_path))


async def _look_at(folder: Path) -> None:
    with pytest.raises(NotKnownError) as end:
        await check_certificate(World().inquiry(data_dir=str(folder)))
    assert end.value.finding.state is U
    await asyncio.to_thread(ensure_certificate, str(folder), "mail.example.org")
    found = await check_certificate(World().inquiry(data_dir=str(folder)))
    assert found.state is L and "mail.example.org" in found.found, "self-signed, from its file"
    world = World(listeners=[("lmtp", "unix:/x"), ("smtp", "0.0.0.0:25")], shown=Shown(b"nonsense", ""))
    with pytest.raises(NotKnownError, match="cannot be read"):
        await check_certificate(world.inquiry(data_dir=str(folder)))
    missing = TlsSettings(certificate_file=str(folder / "none.pem"))
    with pytest.raises(NotKnownError, match=r"none\.pem"):
        await check_certificate(World().inquiry(tls=missing))


def space(
    free_mib: int, inodes: int = 100_000, inodes_all: int = 1_000_000, words: str = "queue"
) -> disk.Space:
    """One file system of 1 GiB."""
    return disk.Space(1, words, "/x", free_mib * MIB, 1024 * MIB, inodes, inodes_all)


DISKS = [
    ("room", [space(900)], G),
    ("exactly four times", [space(256)], G),
    ("little", [space(255)], L),
    ("below the limit", [space(63)], W),
    ("few inodes", [space(900, 3999)], L),
    ("no inodes", [space(900, 999)], W),
    ("no limit of inodes", [space(900, 0, 0)], G),
    ("one of two", [space(900), space(10, words="mailboxes")], W),
]


@pytest.mark.parametrize(("spaces", "state"), [row[1:] for row in DISKS], ids=[row[0] for row in DISKS])
def test_disks(spaces: list[disk.Space], state: State) -> None:
    """Against limits.free_space: wrong below, worth a look below four times."""
    found = disk.judge(spaces, 64 * MIB)
    assert found.state is state, found
    assert all(each.words in found.found for each in spaces) and "64 MiB" in found.expected
    assert (state is G) == (found.advice == "")


def test_a_disk_that_is_there_and_one_that_is_not(tmp_path: Path) -> None:
    """Folders on one file system are told once; a missing data folder is wrong."""
    os.makedirs(tmp_path / "mail")
    found = asyncio.run(disk.check_disk(World().inquiry(data_dir=str(tmp_path), free_min=1)))
    assert found.state is not W and str(tmp_path) in found.found and "mailboxes" not in found.found
    found = asyncio.run(disk.check_disk(World().inquiry(data_dir=str(tmp_path / "none"))))
    assert found.state is W and "no such file" in found.found


UPSTREAMS: list[tuple[str, list[Step], State, str]] = [
    ("fine", [Step("Name", "ok", "x"), Step("Log-in", "ok", "y")], G, "ready"),
    ("odd", [Step("Encryption", "note", "Not encrypted.", "Set it.")], L, "Not encrypted"),
    ("no connection", [Step("Connection", "failed", "Nothing.", "Look."), Step("Log-in", "not tried", "")], W, "Nothing"),
    ("refused", [Step("Log-in", "failed", "535.", "Type it again.")], W, upstream.REFUSED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "state", "words"), [r[1:] for r in UPSTREAMS], ids=[r[0] for r in UPSTREAMS]
)
def test_upstream(steps: list[Step], state: State, words: str) -> None:
    """The first step that failed is told; without one, what is odd."""
    found = upstream.judge(steps, "smtp.isp.example:587")
    assert (found.state, words in found.found) == (state, True), found


def test_upstream_is_asked_for_real() -> None:
    """A host that nobody knows is told as the test of the connection tells it; off line it is not tried."""
    smtp = SmtpSettings(host="smtp.isp.example")

    async def find(world: World) -> Finding:
        return await upstream.check_upstream(world.inquiry(smtp=smtp))

    found = asyncio.run(find(World()))
    assert found.state is W and "smtp.isp.example" in found.found and found.raw
    with pytest.raises(NotKnownError, match="Off line"):
        asyncio.run(find(World(is_down=True)))
