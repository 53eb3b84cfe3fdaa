"""A real Exim in a folder of its own, on loopback, that keeps the mail of one domain for us.

Debian's package of it conflicts with that of Postfix: scripts/test-programs unpacks it beside the system."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.support.ports import free_port, wait_for_port

PROGRAM: Final = "exim4-unpacked"  # a link to it, in /usr/local/sbin
USER: Final = "Debian-exim"  # built into it
_CONFIG: Final = """\
primary_hostname = exim.example.net
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
exim_path = {program}
keep_environment =
deliver_drop_privilege
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
host_lookup =
rfc1413_hosts =
tls_advertise_hosts =
dns_ipv4_lookup = !*
disable_ipv6
acl_smtp_rcpt = accept_all
acl_smtp_data = accept_all
{more}

begin acl
accept_all:
  accept

begin routers
to_us:
  driver = manualroute
  domains = {domain}
  route_list = * 127.0.0.1 byname
  self = send
  transport = to_us

begin transports
to_us:
  driver = smtp
  port = {to_port}
  allow_localhost

begin retry
* * F,2h,1h
"""


class EximServer:
    """Runs as long as the with-block; needs root. What it cannot deliver waits an hour for its next try."""

    def __init__(self, domain: str, to_port: int, more: str = "acl_smtp_etrn = accept_all") -> None:
        """`more`: main settings; {etrn} in it stands for an smtp_etrn_command for the domain."""
        program = shutil.which(PROGRAM, path="/usr/local/sbin")
        assert program is not None, "scripts/test-programs unpacks it"
        self._program = program
        self.folder = Path(tempfile.mkdtemp(prefix="exim-", dir="/var/tmp"))
        self.port = free_port()
        self.config = self.folder / "exim.conf"
        etrn = f"smtp_etrn_command = {program} -C {self.config} -R {domain}"
        self.config.write_text(
            _CONFIG.format(
                folder=self.folder,
                port=self.port,
                domain=domain,
                to_port=to_port,
                more=more.format(etrn=etrn),
                program=self._program,
            )
        )
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "EximServer":
        self.folder.chmod(0o755)
        self.config.chmod(0o644)
        for name in ("spool", "log"):
            (self.folder / name).mkdir(mode=0o750)
            shutil.chown(self.folder / name, USER, USER)
        self._daemon = subprocess.Popen(
            [self._program, "-C", str(self.config), "-bdf", "-q1h"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_port(self.port)
        except TimeoutError:
            said = self.log
            self.__exit__()
            raise AssertionError(f"Exim does not start:\n{said}") from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return "\n".join(
            path.read_text(errors="replace") for path in sorted((self.folder / "log").glob("*log"))
        )

    def wait_for_log(self, words: str, count: int = 1, seconds: float = 60.0) -> None:
        """Until these words stand in its log so often; AssertionError."""
        end = time.monotonic() + seconds
        while self.log.count(words) < count:
            assert time.monotonic() < end, f"{words!r} did not come {count} times:\n{self.log[-3000:]}"
            time.sleep(0.05)
