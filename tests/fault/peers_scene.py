"""The scene of next hops in trouble: a server of little patience, and a domain for every cell of the table."""

import asyncio
import os
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Final

import trustme

from tests.fault.peers_table import SPEECHES, Cell, cells
from tests.support.house import RunningCmail
from tests.support.sink_mx import SinkMx

PATIENCE: Final = 0.1  # 300 s become 30
DRIP_S: Final = 5.0  # between two octets: slower than one a second, as the time-outs are shorter
WELL_COUNT: Final = 50  # domains that are well, while all others are in trouble

# `cmail serve` with shorter time-outs; all else, the opening of a connection too, is as it is.
_HASTY: Final = f"""
import sys
from cmail.delivery import smtp
from cmail.delivery.line import SessionLimits
smtp.session_limits = lambda idle, count, patience: SessionLimits(idle.total_seconds(), count, {PATIENCE})
from cmail.cli.main import main
sys.argv = ["cmail", *sys.argv[1:]]
sys.exit(main())
"""


class HastyCmail(RunningCmail):
    """A server that loses its patience ten times as soon."""

    def launch(self) -> None:
        """Start it and do not wait."""
        with open(self.log_file, "ab") as log, open(self.screen_file, "wb") as screen:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _HASTY, "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=log,
                env=os.environ,
                start_new_session=True,
                extra_groups=[0, 4] if os.geteuid() == 0 else None,
            )


@dataclass
class Farm:
    """Many sinks behind one port, each at an address of its own."""

    sinks: dict[str, SinkMx] = field(default_factory=dict)
    port: int = 0

    async def __aenter__(self) -> "Farm":
        self._server = await asyncio.start_server(self._serve, "0.0.0.0", 0, backlog=1000)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for sink in self.sinks.values():
            sink.drop_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.sinks[writer.get_extra_info("sockname")[0]].serve(reader, writer)


@dataclass
class Domain:
    """A cell with its servers."""

    cell: Cell
    to: str
    sink: SinkMx  # in trouble
    second: SinkMx | None  # well

    @property
    def expected(self) -> str:
        """The letter; with a second host what waits because of the first has arrived."""
        return "d" if self.second is not None and self.cell.fate == "n" else self.cell.fate

    def arrived(self) -> int:
        """How often, at any host."""
        return len(self.sink.taken) + (len(self.second.taken) if self.second else 0)


@dataclass
class Scene:
    """All domains with their servers, and the DNS that knows them."""

    farm: Farm = field(default_factory=Farm)
    records: dict[tuple[str, str], list[str] | str] = field(default_factory=dict)
    domains: list[Domain] = field(default_factory=list)
    well: list[SinkMx] = field(default_factory=list)
    reports: SinkMx = field(default_factory=SinkMx)

    def add_host(self, sink: SinkMx, *names: str) -> SinkMx:
        """A host with the next address; each name is a domain that it is the mail host of, after others."""
        number = len(self.farm.sinks)
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        self.farm.sinks[address] = sink
        for domain in names:
            found = self.records.setdefault((domain, "MX"), [])
            assert isinstance(found, list)
            host = f"mx{len(found) + 1}.{domain}"
            found.append(f"{10 * len(found) + 10} {host}.")
            self.records[host, "A"] = [address]
        return sink


def make_scene() -> Scene:
    """Every cell with one host and with two."""
    scene = Scene()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mx.example.net").configure_cert(tls)
    for number, cell in enumerate(cells()):
        for kind in ("one", "two"):
            domain = f"{kind}{number}.example.net"
            context = tls if cell.needs_tls else None
            sink = SinkMx(cell.script, SPEECHES[cell.speech], tls=context, drip_s=DRIP_S, is_hasty=True)
            scene.add_host(sink, domain)
            second = scene.add_host(SinkMx(), domain) if kind == "two" else None
            scene.domains.append(Domain(cell, f"{kind}@{domain}", sink, second))
    scene.well = [scene.add_host(SinkMx(), f"well{n}.example.net") for n in range(WELL_COUNT)]
    scene.reports = scene.add_host(SinkMx(), "example.com")  # where the senders of the ledger are at home
    return scene
