"""Link: up or down, said by hand; kept durably, told to all, and what is done at link-up."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from cmail.link.clock import LinkReading, parse_reading
from cmail.storage import durable
from cmail.world import Clock

FILE_OCTETS_MAX: Final = 4096  # ours has 100


class LinkLog(Protocol):
    """What of observe.maillog is called here."""

    def noted(self, text: str) -> None: ...
    def warned(self, text: str) -> None: ...
    def failed(self, text: str) -> None: ...


class Link:
    """The one owner of the link's state, in the link process. What it says is durable before it is
    told to anybody, so a crash while down is still down, and the link-up clock never runs ahead."""

    def __init__(
        self,
        path: str,
        clock: Clock,
        log: LinkLog,
        announce: Callable[[LinkReading], Awaitable[None]],
        at_link_up: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """`path`: DATA/link.json. `announce` tells the workers. `at_link_up` (the kick) answers with
        its result in words, "" for none."""
        self._path = path
        self._clock = clock
        self._log = log
        self._announce = announce
        self._at_link_up = at_link_up
        self._reading = LinkReading()
        self._changing = asyncio.Lock()
        self._kicks: set[asyncio.Task[None]] = set()
        self.last_kick = ""

    @property
    def reading(self) -> LinkReading:
        """How the link is."""
        return self._reading

    def open(self) -> LinkReading:
        """Read the state that was left by the last run; blocks (at start, before any loop). A file
        that makes no sense is reported, and the link begins anew as up: mail moves."""
        self._reading = read_state(self._path, self._log)
        return self._reading

    async def down(self) -> LinkReading:
        """Take the link down by hand; down already is fine. OSError when that cannot be recorded."""
        async with self._changing:
            await self._change(self._reading.down(self._clock.wall_ms()), "the link is down")
        return self._reading

    async def up(self) -> LinkReading:
        """The link is up: everything starts. Up already is fine: whoever says so has dialled perhaps,
        and nobody told us that it was down, so all is told again and kicked again."""
        async with self._changing:
            if self._reading.is_down:
                await self._change(self._reading.up(self._clock.wall_ms()), "the link is up")
            else:
                await self._announce(self._reading)
        if self._at_link_up is not None:
            task = asyncio.create_task(self._kick(self._at_link_up), name="kick")
            self._kicks.add(task)
            task.add_done_callback(self._kicks.discard)
        return self._reading

    def status(self) -> dict[str, Any]:
        """For `cmail link status`."""
        reading = self._reading
        return {
            **reading.fields(),
            "link_ms": reading.link_ms(self._clock.wall_ms()),
            "last_kick": self.last_kick,
        }

    async def close(self) -> None:
        """End a kick that is under way."""
        for task in list(self._kicks):
            task.cancel()
        await asyncio.gather(*self._kicks, return_exceptions=True)

    async def _change(self, reading: LinkReading, words: str) -> None:
        if reading is self._reading:
            return
        await asyncio.to_thread(write_state, self._path, reading)
        self._reading = reading
        self._log.noted(words)
        await self._announce(reading)

    async def _kick(self, kick: Callable[[], Awaitable[str]]) -> None:
        try:
            self.last_kick = await kick()
        except Exception:
            self._log.failed("kick")
            return
        if self.last_kick:
            self._log.noted(self.last_kick)


def write_state(path: str, reading: LinkReading) -> None:
    """Make a reading durable; blocks."""
    durable.write_durably(path, json.dumps(reading.fields()).encode() + b"\n")


def read_state(path: str, log: LinkLog) -> LinkReading:
    """The reading that was made durable last; blocks."""
    try:
        with open(path, "rb") as file:
            return parse_reading(json.loads(file.read(FILE_OCTETS_MAX)))
    except FileNotFoundError:
        return LinkReading()
    except (OSError, ValueError, AttributeError) as error:
        log.warned(f"{path}: {error}; the link counts as up from now on")
        return LinkReading()
