"""Other people's programs at our delivery: Dovecot's LMTP, Dovecot on our Maildirs, Postfix's smtp-sink."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cmail.delivery.line import SessionLimits
from cmail.delivery.lmtp import LmtpAgent
from cmail.delivery.settings import AdvancedSettings, LocalSettings, SmtpSettings
from cmail.delivery.smtp import SmtpAgent
from cmail.mail.address import parse_address
from cmail.mail.content import Content, from_plain
from cmail.mail.outcome import Delivered, PermanentFailure
from cmail.net.clock import RealClock
from cmail.storage.mailboxes import Append, MaildirStore
from tests.conftest import PROGRAM_PATH
from tests.support.fake_dns import FakeResolver
from tests.support.memory_work import MemoryWork, transaction
from tests.support.ports import free_port

TEXT = b"From: <ann@example.net>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\nA line.\n.a dot\n..two dots\n\xc3\xa4\n"

NOBODY, NOGROUP = 65534, 65534  # Dovecot delivers for no user of number 0

DOVECOT = """
base_dir = {0}/run
state_dir = {0}/state
log_path = {0}/log
protocols = lmtp
ssl = no
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
first_valid_uid = 1
mail_location = maildir:{0}/mail/%u
protocol lmtp {{
  postmaster_address = postmaster@example.org
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {0}/users
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {0}/users
}}
service lmtp {{
  unix_listener {0}/lmtp {{
    mode = 0600
  }}
}}
"""


def program(name: str) -> str:
    found = shutil.which(name, path=PROGRAM_PATH)
    assert found is not None
    return found


def wait_for(path: Path) -> None:
    """Until somebody listens on a socket in a folder."""
    for _ in range(1200):
        try:
            with socket.socket(socket.AF_UNIX) as tried:
                tried.connect(str(path))
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nobody listens on {path}")


@pytest.fixture
def dovecot() -> Iterator[Path]:
    """The folder of a Dovecot with LMTP, the users anna and bob, and its Maildirs."""
    with tempfile.TemporaryDirectory(prefix="dovecot-") as name:  # short, and others may look into it
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("run", "state", "mail", "home"):
            (folder / part).mkdir()
        for part in ("mail", "home"):
            os.chown(folder / part, NOBODY, NOGROUP)
        users = [
            f"{user}@example.org:{{PLAIN}}x:{NOBODY}:{NOGROUP}::{folder}/home::\n" for user in ("anna", "bob")
        ]
        (folder / "users").write_text("".join(users))
        (folder / "dovecot.conf").write_text(DOVECOT.format(folder))
        process = subprocess.Popen([program("dovecot"), "-F", "-c", str(folder / "dovecot.conf")])
        try:
            wait_for(folder / "lmtp")
            yield folder
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.needs("dovecot", "root")
def test_dovecot_takes_our_mail_by_lmtp(dovecot: Path, tmp_path: Path) -> None:
    """Small and large messages arrive octet for octet; an unknown user of many fails alone."""
    line = b"..x" + b"y" * 70 + b"\r\n"
    wire = b"Subject: large\r\n\r\n" + line * 20_000
    (tmp_path / "large").write_bytes(wire)
    size = len(wire) - wire.count(b"\r\n..")
    large = Content(b"", b"", size, str(tmp_path / "large"), len(wire))
    to = ("anna@example.org", "nobody@example.org", "bob@example.org")
    work = MemoryWork(
        [transaction(1, to, from_plain(TEXT)), transaction(2, ("anna@example.org",), large)]
        + [transaction(n, ("bob@example.org",), from_plain(TEXT)) for n in range(3, 30)]
    )
    local = LocalSettings(delivery="lmtp", lmtp=f"unix:{dovecot}/lmtp")
    agent = LmtpAgent(local, "mail.example.org", RealClock(), limits=SessionLimits(idle_s=0.05))
    asyncio.run(agent.run("lmtp", work))
    work.check()
    assert [type(work.settled[1][i]) for i in range(3)] == [Delivered, PermanentFailure, Delivered]
    assert all(type(work.settled[n][0]) is Delivered for n in range(2, 30))
    stored = [file.read_bytes() for file in (dovecot / "mail/anna@example.org/new").iterdir()]
    small, big = sorted(stored, key=len)
    assert small.endswith(TEXT)
    assert big.endswith((line[1:] * 20_000).replace(b"\r\n", b"\n"))
    assert len(list((dovecot / "mail/bob@example.org/new").iterdir())) == 28


@pytest.mark.needs("doveadm")
def test_dovecot_reads_our_maildirs() -> None:
    """What we stored is what an IMAP client will see: number, header, body."""
    anna = parse_address(b"anna@example.org")
    top = b"Return-Path: <ann@example.net>\nDelivered-To: anna@example.org\n"
    now_ms = time.time_ns() // 1_000_000
    names = [f"{now_ms // 1000}.Q{n}P0.mail" for n in range(3)]
    with tempfile.TemporaryDirectory(prefix="maildir-") as folder:
        store = MaildirStore(f"{folder}/mail")
        appends = [Append(anna, name, top, from_plain(TEXT), now_ms) for name in names]
        assert store.append_all(appends, now_ms) == [None] * 3
        settings = Path(folder, "dovecot.conf")
        settings.write_text(
            f"log_path = /dev/stderr\nssl = no\nbase_dir = {folder}/run\nfirst_valid_uid = 1\n"
            f"mail_location = maildir:{store.path(anna)}\n"
        )
        seen = doveadm(Path(folder), "-c", str(settings), "fetch", "text", "mailbox", "INBOX")
    assert seen.replace(b"\r\n", b"\n").count(top + TEXT) == 3


def doveadm(folder: Path, *words: str) -> bytes:
    """What it prints; as nobody when we are root, for whom Dovecot reads no mail."""
    user: int | None = None
    if os.geteuid() == 0:
        user = NOBODY
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, NOBODY, NOGROUP)
    environment = {"USER": "anna", "HOME": str(folder), "PATH": PROGRAM_PATH}
    done = subprocess.run(
        [program("doveadm"), *words], capture_output=True, env=environment, timeout=60, user=user, group=user
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# What smtp-sink is told, and how the messages end.
SINKS: list[tuple[str, list[str], type]] = [
    ("as it is", [], Delivered),
    ("no ESMTP", ["-e"], Delivered),
    ("no pipelining", ["-p"], Delivered),
    ("RCPT refused", ["-f", "rcpt"], PermanentFailure),
]


@pytest.mark.needs("smtp-sink")
@pytest.mark.parametrize(("flags", "expected"), [row[1:] for row in SINKS], ids=[row[0] for row in SINKS])
def test_postfix_sink_takes_our_mail(tmp_path: Path, flags: list[str], expected: type) -> None:
    """500 messages on 5 connections end as the sink was told, none is put back."""
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program("smtp-sink"), *user, *flags, f"127.0.0.1:{port}", "100"])

    async def main() -> None:
        await reachable(port)
        advanced = AdvancedSettings(idle=timedelta(milliseconds=20))
        smtp = SmtpSettings(host="127.0.0.1", port=port, advanced=advanced)
        agent = SmtpAgent(smtp, "me.example", lambda: "", FakeResolver(), RealClock(), Middle(), "")
        work = MemoryWork([transaction(n) for n in range(500)])
        await asyncio.gather(*(agent.run("relay", work) for _ in range(5)))
        work.check()
        assert {type(ended[0]) for ended in work.settled.values()} == {expected}
        assert len(work.settled) == 500 and not work.put_backs

    try:
        asyncio.run(main())
    finally:
        process.terminate()
        process.wait(60)


async def reachable(port: int) -> None:
    for _ in range(1200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            await asyncio.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}")


class Middle:
    """Entropy that always says one half."""

    def jitter(self) -> float:
        return 0.5
