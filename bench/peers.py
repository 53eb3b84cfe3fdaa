"""The servers that are compared: each starts fresh on an empty queue and ends without a trace."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PORT, SINK = 24025, 24026

MAIN_CF = """compatibility_level = 3.6
queue_directory = {d}/spool
data_directory = {d}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {d}/maillog
maillog_file_prefixes = {folder}, /tmp, /var
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = mail.example.org
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
relayhost = [127.0.0.1]:{sink}
smtp_host_lookup = native
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_sender_restrictions = {hold}
message_size_limit = 60000000
in_flow_delay = 0
default_process_limit = 200
smtpd_client_connection_count_limit = 0
smtp_destination_concurrency_limit = 20
initial_destination_concurrency = 20
"""

CMAIL_TOML = """[host]
hostname = "mail.example.org"
domains = ["example.org"]
data_dir = "{d}/data"

[[listener]]
kind = "smtp"
address = "127.0.0.1:{port}"

[relay]
networks = ["127.0.0.0/8"]

[smtp]
delivery = "smarthost"
host = "127.0.0.1"
port = {sink}

[queue]
batch = {hold}

[admin]
address = "127.0.0.1:24080"
"""


def wait_for_greeting(port: int, seconds: float = 30) -> None:
    """Until a 220 comes from the port; SystemExit when none comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as s:
            s.settimeout(3)
            if s.recv(100).startswith(b"220"):
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing greets on port {port} after {seconds} s")


class Postfix:
    """Debian's Postfix as its manual advises: no flow delay, 20 deliveries at once, connection cache."""

    name = "postfix"

    def __init__(self, folder: str, *, hold: bool) -> None:
        self.folder = d = pathlib.Path(tempfile.mkdtemp(prefix="postfix-", dir=folder))
        d.chmod(0o755)
        self._make_folders()
        master = pathlib.Path("/usr/share/postfix/master.cf.dist").read_text()
        master = re.sub(
            r"(?m)^([a-z]\S*\s+(?:unix|inet|fifo|pass|unix-dgram)\s+\S+\s+\S+\s+)y", r"\1n", master
        )
        master = re.sub(r"(?m)^smtp(\s+)inet", rf"127.0.0.1:{PORT}\1inet", master)
        (d / "etc/master.cf").write_text(master)
        values = {"d": d, "folder": folder, "sink": SINK, "hold": "static:HOLD" if hold else ""}
        (d / "etc/main.cf").write_text(MAIN_CF.format(**values))
        subprocess.run(["postfix", "-c", d / "etc", "start"], check=True, capture_output=True)
        try:
            wait_for_greeting(PORT)
            self.root_pid = int((d / "spool/pid/master.pid").read_text())
        except BaseException:
            self.stop()
            raise

    def _make_folders(self) -> None:
        queues = "active bounce corrupt defer deferred flush hold incoming private saved trace".split()
        for sub in ("etc", "spool/pid"):
            (self.folder / sub).mkdir(parents=True)
        for sub in ("data", *(f"spool/{q}" for q in queues)):
            (self.folder / sub).mkdir(mode=0o700)
            shutil.chown(self.folder / sub, "postfix")
        for sub, mode in (("spool/maildrop", 0o1730), ("spool/public", 0o2710)):
            (self.folder / sub).mkdir()
            shutil.chown(self.folder / sub, "postfix", "postdrop")
            (self.folder / sub).chmod(mode)

    def stop(self) -> None:
        """End it and remove its folder."""
        subprocess.run(["postfix", "-c", self.folder / "etc", "stop"], capture_output=True, check=False)
        time.sleep(0.3)
        shutil.rmtree(self.folder, ignore_errors=True)


class Cmail:
    """CMail as it is by default; settings as a stranger would write them."""

    name = "cmail"
    command = ".venv/bin/cmail"

    def __init__(self, folder: str, *, hold: bool, extra: str = "") -> None:
        self.folder = d = pathlib.Path(tempfile.mkdtemp(prefix="cmail-", dir=folder))
        d.chmod(0o755)
        (d / "data").mkdir()
        self.config = d / "cmail.toml"
        values = {"d": d, "port": PORT, "sink": SINK, "hold": str(hold).lower()}
        self.config.write_text(CMAIL_TOML.format(**values) + extra)
        self.start()

    def start(self) -> None:
        """Start (again) on the same folder."""
        self._log = open(self.folder / "log", "ab")
        command = [self.command, "serve", "--config", str(self.config)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True)
        self.root_pid = self._process.pid
        try:
            wait_for_greeting(PORT)
        except BaseException:
            print((self.folder / "log").read_text(errors="replace")[-2000:], file=sys.stderr)
            self.stop()
            raise

    def end(self) -> None:
        """End the processes, keep the folder."""
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()

    def stop(self) -> None:
        """End it and remove its folder."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


Server = Postfix | Cmail
