"""An IntakeContext for tests: example.org is ours, anna and bert live there, sales is an alias."""

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from cmail.policy.rewriting import Directory
from cmail.policy.routing import RoutingTable
from cmail.protocol.smtp.extensions import Kind
from cmail.smtpd.context import IntakeContext
from cmail.smtpd.intake import Intake
from tests.support.clock import FakeClock
from tests.support.memory_spool import MemorySpool

USERS = frozenset(("anna@example.org", "bert@example.org"))
ALIASES: Mapping[str, tuple[str, ...]] = {
    "sales@example.org": ("anna@example.org", "outside@example.net"),
    "info@example.org": ("anna@example.org",),
}


class ListLog:
    """A log that keeps its events: (name, arguments)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def note(*args: Any, **named: Any) -> None:
            self.events.append((name, {"args": args, **named}))
            if name == "failed":
                traceback.print_exc()

        return note

    def of(self, name: str) -> list[dict[str, Any]]:
        """All events of a name."""
        return [event for found, event in self.events if found == name]


def make_context(spool: Any = None, clock: Any = None, **changes: Any) -> IntakeContext:
    """A context whose parts can be chosen."""
    clock = clock or FakeClock()
    domains = frozenset(("example.org",))
    given: dict[str, Any] = {
        "hostname": "mail.example.org",
        "domains": ("example.org",),
        "routing": RoutingTable("mail.example.org", domains, "maildir", "smarthost"),
        "directory": Directory(USERS, ALIASES, domains=("example.org",), hostname="mail.example.org"),
        "spool": spool or MemorySpool(clock=clock),
        "clock": clock,
        "link_clock": clock,
        "maillog": ListLog(),
        "validation": False,  # most tests are about how content comes, and say nothing of what is in it
        **changes,
    }
    return IntakeContext(**given)


def listening_socket(address: str = "127.0.0.1") -> socket.socket:
    """A bound socket, as the supervisor hands it over."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, 0))
    sock.listen(512)
    return sock


@asynccontextmanager
async def running_intake(context: IntakeContext, *kinds: Kind) -> AsyncIterator[tuple[Intake, list[int]]]:
    """An Intake that listens, and the ports of its kinds."""
    intake = Intake(context)
    ports = []
    for kind in kinds or ("smtp",):
        sock = listening_socket()
        ports.append(sock.getsockname()[1])
        intake.add(kind, sock)
    try:
        yield intake, ports
    finally:
        await asyncio.wait_for(intake.stop(1.0), 60)
