"""Handshakes: so many at once; the next one waits for its turn, who is trusted does not."""

import asyncio

from cmail.mail import limits
from cmail.smtpd.guests import Guests
from cmail.smtpd.handshakes import Handshakes
from cmail.smtpd.settings import RelaySettings
from tests.support.intake import make_context


def test_turns() -> None:
    """The third of two waits until one is through, in order; a client of our own networks goes at once; with
    more than half taken a stranger gets less time."""

    async def play() -> None:
        context = make_context(relay=RelaySettings(("192.0.2.0/24",)))
        hands = Handshakes(Guests(context), 2)
        told: list[str] = []
        gates = {name: asyncio.Event() for name in ("one", "two", "three", "own")}

        async def shake(name: str, address: str) -> None:
            async with hands.turn(context.client(address)) as timeout_s:
                is_short = timeout_s == limits.CROWDED_HANDSHAKE_TIMEOUT_S
                told.append(f"{name} {'short' if is_short else 'long'}")
                await gates[name].wait()

        tasks = []
        for name in ("one", "two", "three"):
            tasks.append(asyncio.create_task(shake(name, "203.0.113.1")))
            await asyncio.sleep(0)
        tasks.append(asyncio.create_task(shake("own", "192.0.2.1")))
        await asyncio.sleep(0)
        assert told == ["one long", "two short", "own short"]
        gates["own"].set()
        gates["two"].set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert told[3:] == ["three short"]
        for gate in gates.values():
            gate.set()
        await asyncio.gather(*tasks)
        assert hands.count == 0

    asyncio.run(play())
