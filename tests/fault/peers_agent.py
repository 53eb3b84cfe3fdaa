"""Cells of the table at the agents themselves, many at once on one loop, with time-outs that are short."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import trustme

from cmail.delivery.agent import Ending, Finished, HostTrouble
from cmail.delivery.line import SessionLimits
from cmail.delivery.lmtp import LmtpAgent
from cmail.delivery.settings import AdvancedSettings, LocalSettings, SmtpSettings
from cmail.delivery.smtp import SmtpAgent
from cmail.mail.content import Content
from cmail.mail.outcome import Delivered, PermanentFailure, TemporaryFailure
from cmail.net.clock import RealClock
from cmail.protocol.smtp.client_flight import DOUBT
from tests.fault.peers_table import KEPT, LARGE, LMTP, LOG_IN, REQUIRED, SPEECHES, Cell, cells, cells_of_three
from tests.support.fake_dns import FakeResolver
from tests.support.memory_work import MemoryWork, transaction
from tests.support.sink_mx import SinkMx

AT_ONCE: Final = 300
WAITED_FOR: Final = ("hangs", "drips", "no end", "silent")
LIMIT_S: Final = 60.0  # a cell that takes longer hangs
THREE: Final = ("a@example.org", "b@example.org", "c@example.org")
PASSWORD: Final = "correct horse, battery=staple"


@dataclass
class Told:
    """How a cell went."""

    fates: str  # a letter a recipient, as in the table
    words: str
    arrived: int
    ending: Ending
    sinks: list[SinkMx] = field(default_factory=list)


class Middle:
    """Entropy that always says one half."""

    def jitter(self) -> float:
        return 0.5


def patience_with(cell: Cell) -> float:
    """All time-outs times this, where one is to be waited for: 300 s become 3. Elsewhere a busy machine must
    not look like a peer that hangs."""
    if cell.trouble not in WAITED_FOR:
        return 0.2
    return 0.03 if cell.needs_tls else 0.01  # a handshake of TLS has but 60 s


def agent(
    smtp: SmtpSettings, resolver: FakeResolver | None = None, patience: float = 1.0, ca_file: str = ""
) -> SmtpAgent:
    """As the worker has it."""
    return SmtpAgent(
        smtp, "mail.example.org", lambda: PASSWORD, resolver or FakeResolver(), RealClock(), Middle(), ca_file,
        patience=patience,
    )  # fmt: skip


def settings(port: int, **options: Any) -> SmtpSettings:
    """[smtp] for a server on this port; a connection does not idle."""
    advanced = AdvancedSettings(
        timeout=timedelta(seconds=10), idle=timedelta(milliseconds=20), outbound_port=port
    )
    return replace(SmtpSettings(host="127.0.0.1", port=port, advanced=advanced), **options)


def sink_of(cell: Cell, tls: ssl.SSLContext | None, **options: Any) -> SinkMx:
    """The peer in this trouble. It takes a message before it says so."""
    extensions = (*SPEECHES[cell.speech], *options.pop("extensions", ()))
    context = tls if cell.needs_tls else None
    drip_s = 1.5 if cell.needs_tls else 0.5  # a reply is longer than its time
    return SinkMx(cell.script, extensions, tls=context, drip_s=drip_s, is_hasty=True, **options)


def fates_of(work: MemoryWork, number: int, ending: Ending) -> tuple[str, str]:
    """The letters of a message's recipients, and what was said."""
    outcomes = work.settled.get(number)
    if outcomes is None:
        is_host = isinstance(ending, HostTrouble)
        return ("n" if is_host else "?"), ending.failure.reason if isinstance(ending, HostTrouble) else ""
    letters, words = "", []
    for position in sorted(outcomes):
        match outcomes[position]:
            case Delivered(reply=reply):
                letters += "d"
                words.append(reply)
            case PermanentFailure(reason=reason):
                letters += "b"
                words.append(reason)
            case TemporaryFailure(reason=reason):
                letters += "D" if DOUBT in reason else "w"
                words.append(reason)
    return letters, " | ".join(words)


async def to_one_host(cell: Cell, tls: ssl.SSLContext | None, **options: Any) -> Told:
    """A message through an upstream server in this trouble."""
    smtp: dict[str, Any] = options.pop("smtp", {})
    ca_file = options.pop("ca_file", "")
    async with sink_of(cell, tls, **options) as sink:
        work = MemoryWork([transaction(1)])
        upstream = agent(settings(sink.port, **smtp), patience=patience_with(cell), ca_file=ca_file)
        ending = await upstream.run("relay", work)
        work.check()
        letters, words = fates_of(work, 1, ending)
        return Told(letters, words, len(sink.taken), ending, [sink])


async def with_a_large_message(cell: Cell, content: Content) -> Told:
    """A message from a file that is larger than all buffers on the way."""
    async with sink_of(cell, None) as sink:
        work = MemoryWork([transaction(1, content=content)])
        ending = await agent(settings(sink.port), patience=patience_with(cell)).run("relay", work)
        work.check()
        letters, words = fates_of(work, 1, ending)
        return Told(letters, words, len(sink.taken), ending, [sink])


def large(folder: Path) -> Content:
    """20 MB in a file."""
    lines = b"Subject: large\r\n\r\n" + (b"y" * 98 + b"\r\n") * 200_000
    (folder / "large").write_bytes(lines)
    return Content(b"", b"", len(lines), str(folder / "large"), len(lines))


async def to_two_hosts(cell: Cell, tls: ssl.SSLContext | None) -> Told:
    """A message to a domain whose first host is in trouble and whose second is well; tried again when it
    may have arrived. `arrived` is how often the second host got it."""
    async with sink_of(cell, tls) as bad, SinkMx(host="127.0.0.2", port=bad.port) as good:
        hosts = {"mx1.example.net": ["127.0.0.1"], "mx2.example.net": ["127.0.0.2"]}
        table = {"example.net": [(10, "mx1.example.net"), (20, "mx2.example.net")]}
        smtp = agent(settings(bad.port), FakeResolver(table, hosts), patience_with(cell))
        for _ in range(2):
            work = MemoryWork([transaction(1)], keeps_put_back=True)
            ending = await smtp.run("mx:example.net", work)
            work.check()
            letters, words = fates_of(work, 1, ending)
            if letters != "D":
                break
        return Told(letters, words, len(good.taken), ending, [bad, good])


async def on_a_kept_connection(cell: Cell, tls: ssl.SSLContext | None) -> Told:
    """Two messages over one connection, in trouble at the second; then the same again."""
    stage = "RSET" if cell.stage == "RSET" else f"{cell.stage}#1"
    script = {stage: cell.script[cell.stage]}
    if cell.stage == "RSET":
        script["content:0"] = b"451 4.3.0 later\r\n"  # so that RSET is said before the second
    async with sink_of(cell, tls) as sink:
        sink.script = script
        work = MemoryWork([transaction(1), transaction(2)], keeps_put_back=True)
        smtp = agent(settings(sink.port), patience=patience_with(cell))
        ending: Ending = Finished(0)
        for _ in range(2):
            if work.ready:
                ending = await smtp.run("relay", work)
        work.check()
        letters, words = fates_of(work, 2, ending)
        return Told(letters, words, len(sink.taken), ending, [sink])


async def to_lmtp(cell: Cell, tls: ssl.SSLContext | None, recipients: Sequence[str]) -> Told:
    """A message to mailboxes behind LMTP; the trouble is at `content:` of the second."""
    async with sink_of(cell, tls, is_lmtp=True) as sink:
        limits = SessionLimits(idle_s=0.02, patience=patience_with(cell))
        local = LocalSettings(delivery="lmtp", lmtp=f"127.0.0.1:{sink.port}")
        lmtp = LmtpAgent(local, "mail.example.org", RealClock(), FakeResolver(), limits=limits)
        work = MemoryWork([transaction(1, recipients, route="lmtp")])
        ending = await lmtp.run("lmtp", work)
        work.check()
        letters, words = fates_of(work, 1, ending)
        return Told(letters, words, len(sink.taken), ending, [sink])


Try = Callable[[Cell], Awaitable[Told]]


@dataclass(frozen=True)
class Certificate:
    """What a peer proves its name with, and the file of who vouches for it."""

    context: ssl.SSLContext
    ca_file: str


def make_certificate(folder: Path) -> Certificate:
    """For 127.0.0.1."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return Certificate(context, str(folder / "ca.pem"))


def tables(folder: Path) -> dict[str, tuple[list[Cell], Try]]:
    """All tables with what tries a cell of each."""
    certificate, content = make_certificate(folder), large(folder)
    tls = certificate.context
    required = {"smtp": {"tls": "required"}, "ca_file": certificate.ca_file}
    users = {"smtp": {"username": "anna"}, "users": {"anna": PASSWORD}, "extensions": ("AUTH LOGIN",)}
    another = {"n": "d", "D": "d", "e": "d"}  # the second host gets it, at once or the next time
    return {
        "an upstream server": (list(cells()), lambda cell: to_one_host(cell, tls)),
        "one that must be encrypted": (
            list(cells(REQUIRED)),
            lambda cell: to_one_host(cell, tls, **required),
        ),
        "one that we log in to": (list(cells(LOG_IN)), lambda cell: to_one_host(cell, tls, **users)),
        "a domain with a second host": (
            [replace(c, fate=another.get(c.fate, c.fate)) for c in cells() if c.speech != "step"],
            lambda cell: to_two_hosts(cell, tls),
        ),
        "a connection that was kept": (list(cells(KEPT)), lambda cell: on_a_kept_connection(cell, tls)),
        "a large message": (list(cells(LARGE)), lambda cell: with_a_large_message(cell, content)),
        "LMTP": (list(cells(LMTP)), lambda cell: to_lmtp(cell, tls, THREE[:1])),
        "LMTP to three": (list(cells_of_three(THREE[1])), lambda cell: to_lmtp(cell, tls, THREE)),
    }


async def try_all(wanted: Mapping[str, tuple[Sequence[Cell], Try]]) -> dict[str, dict[Cell, Told]]:
    """All cells of these tables, many at once; those that are to be waited for first."""
    gate = asyncio.Semaphore(AT_ONCE)
    told: dict[str, dict[Cell, Told]] = {name: {} for name in wanted}

    async def run(name: str, cell: Cell, one: Try) -> None:
        async with gate:
            told[name][cell] = await asyncio.wait_for(one(cell), LIMIT_S)

    jobs = [(name, cell, one) for name, (each, one) in wanted.items() for cell in each]
    async with asyncio.TaskGroup() as group:
        for name, cell, one in sorted(jobs, key=lambda job: job[1].trouble not in WAITED_FOR):
            group.create_task(run(name, cell, one), name=cell.name)
    return told


def faults(told: Mapping[Cell, Told]) -> list[str]:
    """Where it went another way than the table says."""
    found = []
    for cell, went in told.items():
        if went.fates != cell.fate and not (cell.fate == "e" and went.fates in "nD"):
            found.append(f"{cell.name}: {went.fates!r}, not {cell.fate!r}: {went.words[:200]!r}")
        elif cell.fate in "nwDb" and (cell.words not in went.words or not went.words):
            found.append(f"{cell.name}: {cell.words!r} is not in {went.words[:200]!r}")
    return found
