"""Confirming: what the DNS denies, looked at before anybody is told so; in the link process."""

import asyncio
from collections.abc import Callable
from typing import Final

from cmail.link.links import OneLink
from cmail.link.probe import Seen, Target, probe
from cmail.link.state import Link
from cmail.net.dns_client import DnsClient, Word
from cmail.observe import maillog

AGAIN_MIN_S: Final = 1.0  # a DNS that knew nothing any more is asked again, until it does
AGAIN_MAX_S: Final = 8.0


class Confirming:
    """A name that does not exist bounces mail, and so says the DNS of a router that has lost the Internet of
    every name. `failed` is told what a probe saw that says so."""

    def __init__(
        self,
        link: Link,
        resolver: Callable[[], DnsClient],
        device: Callable[[OneLink], str],
        failed: Callable[[OneLink, Seen, Target], None],
    ) -> None:
        self._link, self._resolver = link, resolver
        self._device, self._failed = device, failed
        self._watching: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Ask no more."""
        if self._watching is not None:
            self._watching.cancel()

    async def confirm(self, target: Target | None, domain: str = "") -> str:
        """Whether the Internet is there, and what becomes of a domain that was denied: "exists", it does;
        "sure", a server of its own zone denies it; "yes", the Internet is there; "no", it is not; "dns", it
        is, but its DNS knows nothing that it knew; "strange", the DNS denies what everybody knows, and
        nothing has ever been delivered; "unsure"."""
        if self._link.reading.is_down:
            return "no"
        resolver = self._resolver()
        word, seen = await asyncio.gather(_word_on(resolver, domain), self._probe(resolver, target))
        if seen is not None and seen.is_portal:
            return self._conclude(seen, target)
        if word is Word.THERE:
            return "exists"
        if word is Word.DENIED_BY_ITS_OWN:
            return "sure"
        return "yes" if seen is None else self._conclude(seen, target)

    async def _probe(self, resolver: DnsClient, target: Target | None) -> Seen | None:
        """None: there is nothing that could be probed."""
        carrier, known = self._link.links.carrier, self._link.links.upstream
        if target is None:
            return None
        return await probe(target, resolver, known, self._device(carrier) if carrier is not None else "")

    def _conclude(self, seen: Seen, target: Target | None) -> str:
        carrier = self._link.links.carrier
        if seen.dns == "bad" and seen.is_answered and target is not None:
            self._watch(seen, target)
            return "dns"
        if seen.is_answered:
            return "strange" if seen.dns == "strange" else "yes"
        if not (seen.is_failure or seen.is_portal) or target is None:
            return "unsure"
        if carrier is not None:
            self._failed(carrier, seen, target)
        return "no"

    def _watch(self, seen: Seen, target: Target) -> None:
        if self._watching is None or self._watching.done():
            maillog.warned(f"{seen.words}, though a host answers: mail waits")
            self._watching = asyncio.create_task(self._watch_dns(target), name="until the DNS is back")

    async def _watch_dns(self, target: Target) -> None:
        """Until it knows something: then what waits begins at once. While the link is down others look."""
        wait_s = AGAIN_MIN_S
        while not self._link.reading.is_down:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, AGAIN_MAX_S)
            seen = await self._probe(self._resolver(), target)
            if seen is None or seen.dns == "good":
                maillog.noted("the DNS is back")
                await self._link.say_again()
                return


async def _word_on(resolver: DnsClient, domain: str) -> Word | None:
    return await resolver.word_on(domain) if domain else None
