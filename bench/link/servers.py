"""The pairs that are compared: a sender on the near side, its hub on the far side; both as they come."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from corpus import RECEIVING, SENDING, Mail
from ground import FAR_ADDRESS, NEAR_ADDRESS, Ground
from wire import FAR, NEAR

from cmail.net.control import BlockingControlClient, ControlError

PORT = 2525
START_S = 20.0
QUEUES = "active bounce corrupt defer deferred flush hold incoming private saved trace"

NEAR_TOML = """[host]
hostname = "mail.{sending}"
domains = ["{sending}"]
data_dir = "{folder}/data"
user = "nobody"

[[listener]]
kind = "smtp"
address = "127.0.0.1:{port}"

[relay]
networks = ["127.0.0.0/8"]

[smtp]
host = "{far}"
port = {port}
tls = "{tls}"

[[link.via]]
name = "link"
device = ["{device}"]
rate = {rate}

[admin]
address = ""
{more}"""

FAR_TOML = """[host]
hostname = "mail.{receiving}"
domains = ["{receiving}"]
data_dir = "{folder}/data"
user = "nobody"

[[listener]]
kind = "smtp"
address = "{far}:{port}"

[relay]
networks = ["{near}/32"]

[smtp.advanced]
refuse_unknown_users = false

[admin]
address = ""
"""

MAIN_CF = """compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/maillog
maillog_file_prefixes = /var/tmp
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
smtp_host_lookup = native
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
message_size_limit = 60000000
mydestination =
"""
NEAR_CF = """myhostname = mail.{sending}
inet_interfaces = loopback-only
mynetworks = 127.0.0.0/8
relayhost = [{far}]:{port}
smtp_bind_address = {near}
defer_transports = smtp
"""
FAR_CF = """myhostname = mail.{receiving}
inet_interfaces = {far}
mynetworks = {near}/32
virtual_mailbox_domains = {receiving}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
mailbox_size_limit = 0
virtual_mailbox_limit = 0
"""
NAMES = {"sending": SENDING, "receiving": RECEIVING, "near": NEAR_ADDRESS, "far": FAR_ADDRESS, "port": PORT}


class Pair(Protocol):
    """Sender and hub. They are up when they are made, and nothing goes out before go()."""

    name: str
    mailboxes: Path  # below it, files in folders named `new` are what has arrived

    def queue(self, mails: Sequence[Mail]) -> None:
        """Give them to the sender, which keeps them."""
        ...

    def go(self) -> None:
        """The link is up: say so to who does not see it."""
        ...

    def close(self) -> None:
        """End both."""
        ...


class CmailPair:
    """CMail to CMail; `more` is added to the sender's settings."""

    name = "CMail"

    def __init__(self, ground: Ground, *, more: str = "", tls: str = "none") -> None:
        self._ground = ground
        self.near, self.far = ground.folder / "near", ground.folder / "far"
        self.mailboxes = self.far / "data/mail"
        self.log = self.near / "log"
        values = {**NAMES, "more": more, "tls": tls, "device": ground.device, "rate": int(ground.kind.kbit)}
        self._processes = [
            self._start(FAR, self.far, FAR_TOML.format(folder=self.far, **values)),
            self._start(NEAR, self.near, NEAR_TOML.format(folder=self.near, **values)),
        ]
        self._wait()

    def _start(self, side: int, folder: Path, settings: str) -> "subprocess.Popen[bytes]":
        folder.mkdir()
        (folder / "data").mkdir(mode=0o711)
        shutil.chown(folder / "data", "nobody")
        config = folder / "cmail.toml"
        config.write_text(settings)
        with open(folder / "log", "wb") as log:
            return self._ground.start(
                side, [sys.executable, "-m", "cmail", "serve", "--config", str(config)], log
            )

    def _wait(self) -> None:
        end = time.monotonic() + START_S
        for folder in (self.far, self.near):
            while not self._is_ready(folder):
                if time.monotonic() > end:
                    raise SystemExit(f"CMail does not start:\n{(folder / 'log').read_text()}")
                time.sleep(0.1)

    def _is_ready(self, folder: Path) -> bool:
        try:
            children = self.ask(folder, "supervisor", "status")["children"]
        except ControlError:
            return False
        return all(child["state"] == "running" for child in children)

    def ask(self, folder: Path, name: str, question: str, **arguments: Any) -> dict[str, Any]:
        """A question to a process of one of them."""
        found = BlockingControlClient(str(folder / "data/run"), name, 30.0).ask(question, arguments)
        return dict(found.ok)

    def waiting(self) -> list[dict[str, Any]]:
        """The recipients in the sender's queue."""
        found = []
        for path in sorted((self.near / "data/run").glob("worker-*.sock")):
            client = BlockingControlClient(str(self.near / "data/run"), path.stem, 30.0)
            found += client.ask("queue.list", {"filter": {}, "limit": 100_000}).rows
        return found

    def queue(self, mails: Sequence[Mail]) -> None:
        _inject(self._ground, mails)

    def go(self) -> None:
        """It sees the carrier by itself."""

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(60)


class PostfixPair:
    """Debian's Postfix to itself, with its own timers."""

    name = "Postfix"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.near, self.far = ground.folder / "near", ground.folder / "far"
        self.mailboxes = self.far / "mail"
        self.mailboxes.mkdir(parents=True)
        shutil.chown(self.mailboxes, "nobody")
        self._make(self.far, FAR_CF, f"{PORT}      inet")
        self._make(self.near, NEAR_CF, f"127.0.0.1:{PORT}      inet")
        self._postfix(FAR, self.far, "start")
        self._postfix(NEAR, self.near, "start")

    def _make(self, folder: Path, main: str, service: str) -> None:
        for sub in ("etc", "spool/pid"):
            (folder / sub).mkdir(parents=True)
        for sub in ("data", *(f"spool/{queue}" for queue in QUEUES.split())):
            (folder / sub).mkdir(mode=0o700)
            shutil.chown(folder / sub, "postfix")
        for sub, mode in (("spool/maildrop", 0o1730), ("spool/public", 0o2710)):
            (folder / sub).mkdir()
            shutil.chown(folder / sub, "postfix", "postdrop")
            (folder / sub).chmod(mode)
        master = Path("/usr/share/postfix/master.cf.dist").read_text()
        master = re.sub(
            r"(?m)^([a-z]\S*\s+(?:unix|inet|fifo|pass|unix-dgram)\s+\S+\s+\S+\s+)y", r"\1n", master
        )
        (folder / "etc/master.cf").write_text(re.sub(r"(?m)^smtp\s+inet", service, master))
        (folder / "etc/main.cf").write_text((MAIN_CF + main).format(folder=folder, **NAMES))

    def _postfix(self, side: int, folder: Path, verb: str, *, check: bool = True) -> None:
        self._ground.run(side, ["postfix", "-c", str(folder / "etc"), verb], check=check)

    def queue(self, mails: Sequence[Mail]) -> None:
        _inject(self._ground, mails)
        end = time.monotonic() + START_S
        while sum(1 for path in (self.near / "spool/deferred").rglob("*") if path.is_file()) < len(mails):
            if time.monotonic() > end:
                raise SystemExit("Postfix does not put its mail aside")
            time.sleep(0.1)
        self._ground.run(NEAR, ["postconf", "-c", str(self.near / "etc"), "-e", "defer_transports="])
        self._postfix(NEAR, self.near, "reload")
        time.sleep(1)

    def go(self) -> None:
        self._ground.run(NEAR, ["postqueue", "-c", str(self.near / "etc"), "-f"])

    def close(self) -> None:
        for side, folder in ((NEAR, self.near), (FAR, self.far)):
            self._postfix(side, folder, "stop", check=False)


def _inject(ground: Ground, mails: Sequence[Mail]) -> None:
    """By SMTP, on the near side."""
    rows = [[mail.reverse_path, mail.forward_path, mail.octets.decode("latin-1")] for mail in mails]
    script = os.path.join(os.path.dirname(__file__), "inject.py")
    ground.run(NEAR, [sys.executable, script, str(PORT)], input=json.dumps(rows).encode())
