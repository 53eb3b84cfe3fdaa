"""A real Postfix in a folder of its own, on loopback, as an upstream server or as a client's server."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.ports import free_port, wait_for_port

_QUEUES = "active bounce corrupt defer deferred flush hold incoming private saved trace".split()


class PostfixServer:
    """Runs as long as the with-block; needs root. Local mail for `domains` goes to mboxes in `mail`."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postfix-", dir="/var/tmp"))
        self.port = free_port()
        self.mail = self.folder / "mail"
        self._settings = settings

    def __enter__(self) -> "PostfixServer":
        self.folder.chmod(0o755)
        self._make_folders()
        self._write_master()
        self._write_main()
        try:
            self._postfix("start")
            wait_for_port(self.port)
        except (subprocess.CalledProcessError, TimeoutError) as error:
            said = self.log
            self.__exit__()
            raise AssertionError(f"Postfix does not start: {error}\n{said}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._postfix("stop", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it has logged so far."""
        path = self.folder / "maillog"
        return path.read_text(errors="replace") if path.exists() else ""

    def mbox(self, name: str) -> bytes:
        """The mbox of a virtual recipient; empty when there is none yet."""
        path = self.mail / name
        return path.read_bytes() if path.exists() else b""

    def wait_for(self, name: str, needle: bytes, seconds: float = 60) -> bytes:
        """The mbox once `needle` is in it; TimeoutError with the log when it never comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if needle in (text := self.mbox(name)):
                return text
            time.sleep(0.05)
        raise TimeoutError(f"{needle!r} did not come to {name}:\n{self.log[-3000:]}")

    def change(self, old: str, new: str) -> None:
        """Other settings, for the sessions from now on."""
        path = self.folder / "etc/main.cf"
        path.write_text(path.read_text().replace(old, new))
        reloads = self.log.count("reload -- version")
        self._postfix("reload")
        end = time.monotonic() + 60
        while self.log.count("reload -- version") == reloads:
            assert time.monotonic() < end, f"no reload:\n{self.log[-3000:]}"
            time.sleep(0.01)

    def _postfix(self, verb: str, *, check: bool = True) -> None:
        command = ["/usr/sbin/postfix", "-c", str(self.folder / "etc"), verb]
        subprocess.run(command, check=check, capture_output=True, timeout=60)

    def _make_folders(self) -> None:
        for sub in ("etc", "spool/pid"):
            (self.folder / sub).mkdir(parents=True)
        for sub in ("data", "mail", *(f"spool/{q}" for q in _QUEUES)):
            (self.folder / sub).mkdir(mode=0o700)
            shutil.chown(self.folder / sub, "postfix")
        for sub, mode in (("spool/maildrop", 0o1730), ("spool/public", 0o2710)):
            (self.folder / sub).mkdir()
            shutil.chown(self.folder / sub, "postfix", "postdrop")
            (self.folder / sub).chmod(mode)

    def _write_master(self) -> None:
        master = Path("/usr/share/postfix/master.cf.dist").read_text()
        no_chroot = r"(?m)^([a-z]\S*\s+(?:unix|inet|fifo|pass|unix-dgram)\s+\S+\s+\S+\s+)y"
        master = re.sub(no_chroot, r"\1n", master)
        master = re.sub(r"(?m)^smtp(\s+)inet", rf"127.0.0.1:{self.port}\1inet", master)
        (self.folder / "etc/master.cf").write_text(master)

    def _write_main(self) -> None:
        d = self.folder
        uid = os.stat(d / "mail").st_uid
        values = {
            "compatibility_level": "3.6",
            "queue_directory": f"{d}/spool",
            "data_directory": f"{d}/data",
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "maillog_file": f"{d}/maillog",
            "maillog_file_prefixes": "/var, /tmp",
            "inet_interfaces": "loopback-only",
            "inet_protocols": "ipv4",
            "myhostname": "upstream.example.net",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "alias_maps": "",
            "smtp_host_lookup": "native",
            "smtp_dns_support_level": "disabled",
            "smtpd_peername_lookup": "no",
            "virtual_mailbox_domains": "example.net",
            "virtual_mailbox_base": f"{d}/mail",
            "virtual_mailbox_maps": "inline:{ anna@example.net=anna, bert@example.net=bert }",
            "virtual_minimum_uid": "1",
            "virtual_uid_maps": f"static:{uid}",
            "virtual_gid_maps": f"static:{uid}",
            "smtpd_recipient_restrictions": "permit_mynetworks, reject",
            **self._settings,
        }
        text = "".join(f"{key} = {value}\n" for key, value in values.items())
        (d / "etc/main.cf").write_text(text)
