"""Release: a message from quarantine goes into the spool, as it stands there; old ones are removed."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from cmail.mail.content import Content
from cmail.mail.date import print_date
from cmail.mail.limits import CONTENT_IN_MEMORY_MAX
from cmail.observe import maillog
from cmail.policy.routing import RoutingTable
from cmail.smtpd.drop_read import read_content
from cmail.storage.quarantine import Kept, Quarantine, QuarantineError
from cmail.storage.spool import NewMessage, Spool
from cmail.world import Clock, LinkClock

SWEEP_S: Final = 3600.0

_under_way: Final[set[str]] = set()  # ids that are being released: a second click does nothing


@dataclass(slots=True)
class Release:
    """What it takes to let a message go."""

    quarantine: Quarantine
    spool: Spool
    routing: Callable[[], RoutingTable]
    clock: Clock
    link_clock: LinkClock
    hostname: str

    async def let_go(self, text: str) -> int:
        """Durable in the spool, under the id that it had here, and then gone from here; how many recipients.
        A crash between the two may send it twice, and never loses it. QuarantineError, SpoolError."""
        kept = await asyncio.to_thread(self.quarantine.get, text)
        if kept.id in _under_way:
            raise QuarantineError(f"{kept.id} is being released already")
        _under_way.add(kept.id)
        try:
            if await self.spool.message(kept.queue_id) is None:
                await self._accept(kept)
            await asyncio.to_thread(self.quarantine.remove, kept.id)
        finally:
            _under_way.discard(kept.id)
        return len(kept.envelope.recipients)

    async def _accept(self, kept: Kept) -> None:
        path, routing = self.spool.content_path(kept.queue_id), self.routing()
        content = await asyncio.to_thread(self._read, kept, path)
        envelope, wall_ms = kept.envelope, self.clock.wall_ms()
        envelope = replace(envelope, is_8bit=content.has_8bit)
        prefix = (
            f"Received: by {self.hostname} (CMail, from quarantine)\r\n"
            f"\tid {kept.id}; {print_date(wall_ms)}\r\n"
        ).encode("utf-8", "replace")
        content = replace(content, prefix=prefix, size_bytes=content.size_bytes + len(prefix))
        await self.spool.accept(
            NewMessage(
                kept.queue_id,
                envelope,
                content,
                tuple(routing.route(each.forward_path) for each in envelope.recipients),
                arrived_wall_ms=wall_ms,
                arrived_link_ms=self.link_clock.link_ms(),
                origin=f"{kept.origin}, released from quarantine",
            )
        )
        maillog.accepted(
            kept.queue_id,
            client=maillog.client_text("localhost", "quarantine"),
            helo="",
            protocol="local",
            message_id="",
            reverse_path=envelope.reverse_path_text,
            size_bytes=content.size_bytes,
            recipients_count=len(envelope.recipients),
            service="pickup",
        )

    def _read(self, kept: Kept, path: str) -> Content:
        """In a thread."""
        with self.quarantine.open(kept.id) as file:
            first = file.read(CONTENT_IN_MEMORY_MAX)
            is_large = os.fstat(file.fileno()).st_size >= CONTENT_IN_MEMORY_MAX
            return read_content(first, file, path if is_large else "")


async def sweep_daily(quarantine: Quarantine, clock: Clock) -> None:
    """Remove what has been in quarantine for 30 days. Until cancelled."""
    while True:
        try:
            for name in await asyncio.to_thread(quarantine.sweep, clock.wall_ms()):
                maillog.noted(f"{name} was in quarantine for 30 days and is removed")
        except OSError as error:
            maillog.warned(f"the quarantine cannot be swept: {error}")
        await asyncio.sleep(SWEEP_S)
