"""The finger listener: a known site says a domain of its own, and what waits for it goes (RFC 1288 §2)."""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from cmail.delivery.site_settings import SiteSettings
from cmail.policy.rates import Buckets
from cmail.protocol.smtp.site_commands import Etrn
from cmail.smtpd.context import Client, IntakeContext

if TYPE_CHECKING:
    from cmail.smtpd.intake import Intake

LINE_MAX: Final = 512  # octets; a domain has at most 255
PATIENCE_S: Final = 10.0
KICKS_BURST: Final = 5  # of one address; then one each ten seconds
KICKS_PER_MINUTE: Final = 6.0
UNKNOWN: Final = b"No mail is kept here for that name.\r\n"
TOO_OFTEN: Final = b"Not so often, please.\r\n"
BROKEN: Final = b"Something went wrong here; try again later.\r\n"


class FingerConnection(asyncio.Protocol):
    """One line, one answer, the end."""

    def __init__(self, intake: "Intake", client: Client) -> None:
        self._intake = intake
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._line = b""
        self._task: asyncio.Task[None] | None = None
        self.has_begun = False

    def connection_made(self, transport: Any) -> None:
        """Somebody is there."""
        self._transport = transport
        self.has_begun = True
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """What is asked for; it ends in LF, most say CRLF."""
        if self._task is not None or self._transport is None:
            return
        self._line += data
        if b"\n" in self._line:
            line = self._line.partition(b"\n")[0]
            self._task = asyncio.get_running_loop().create_task(self._answer(line), name="finger")
        elif len(self._line) > LINE_MAX:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone; what it has started goes on."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._intake.depart(self._client)

    async def _answer(self, line: bytes) -> None:
        context = self._intake.context
        try:
            said = await answer_finger(context, self._client, line, self._intake.kicks)
        except Exception:
            context.maillog.failed("a kick by finger could not be answered")
            said = BROKEN
        if self._transport is not None:
            self._transport.write(said)
            self._transport.close()


async def answer_finger(context: IntakeContext, client: Client, line: bytes, kicks: Buckets) -> bytes:
    """A line for people. Who is no site, or comes from elsewhere, learns nothing of what there is."""
    desk = context.sites
    if not kicks.take(client.place, context.clock.monotonic()):
        return TOO_OFTEN
    if desk is None:
        return UNKNOWN
    node = line[:LINE_MAX].strip(b" \t\r").removeprefix(b"/W").strip(b" ").lower()
    if not node.isascii() or not node:
        return UNKNOWN
    found: list[SiteSettings] = desk.book.meant(
        Etrn("", node.decode("ascii")), desk.book.of_client(client.address, "")
    )
    if not found:
        return UNKNOWN
    waiting = await desk.waiting(found)
    for site in found:
        await desk.came(site, client.address, "finger")
    count = waiting.messages_count
    if not count and waiting.is_complete:
        return b"No mail waits for " + node + b".\r\n"
    many = b"Mail" if not waiting.is_complete else b"%d message%b" % (count, b"s" * (count != 1))
    return many + b" for " + node + b": on the way.\r\n"
