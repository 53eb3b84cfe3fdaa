"""A real name server (nsd) on loopback, with zones that the test writes."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.ports import free_port, wait_for_port

_HEAD = "$TTL 60\n@ SOA ns.{zone}. admin.{zone}. 1 3600 600 86400 60\n@ NS ns.{zone}.\nns A 127.0.0.1\n"


class NsdServer:
    """Runs as long as the with-block. `zones`: zone name -> its records, one a line. Whatever is asked of
    the `broken` zones is answered SERVFAIL."""

    def __init__(self, zones: dict[str, str], broken: Sequence[str] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nsd-", dir="/var/tmp"))
        self.port = free_port()
        self._zones, self._broken = zones, broken

    @property
    def address(self) -> str:
        """As it stands in [dns] servers."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> "NsdServer":
        d = self.folder
        config = (
            f"server:\n  ip-address: 127.0.0.1@{self.port}\n  zonesdir: {d}\n  username: root\n"
            f"  pidfile: {d}/pid\n  xfrdfile: {d}/xfrd\n  xfrdir: {d}\n  zonelistfile: {d}/zones\n"
            f"  logfile: {d}/log\nremote-control:\n  control-enable: no\n"
        )
        for zone, records in self._zones.items():
            (d / f"{zone}.zone").write_text(_HEAD.format(zone=zone) + records + "\n")
            config += f"zone:\n  name: {zone}\n  zonefile: {zone}.zone\n"
        for zone in self._broken:
            config += f"zone:\n  name: {zone}\n  zonefile: {zone}.missing\n"
        (d / "nsd.conf").write_text(config)
        self._process = subprocess.Popen(["/usr/sbin/nsd", "-d", "-c", str(d / "nsd.conf")])
        try:
            wait_for_port(self.port)
        except TimeoutError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
