"""So much happens on the network of the machine that the kernel cannot tell it all: what is known is right after."""

import asyncio
import subprocess

import pytest

from cmail.net.kernel_watch import KernelWatch
from tests.support.netns import Net

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(300)]

CHANGES = 3000  # more than the kernel keeps for who does not listen
HEARD_S = 60.0


def test_a_route_that_goes_while_we_catch_up(net: Net) -> None:
    """Containers come and go by the hundred while the process does not listen. Behind that the default route goes,
    too, at the moment when it has asked for all anew: it is seen, and no address stays that is gone."""
    here = ["ip", "-n", net.here_name]
    storm = "".join(
        f"addr {what} 10.50.{n // 250}.{n % 250 + 1}/32 dev wire\n"
        for n in range(CHANGES)
        for what in ("add", "del")
    )

    def happen() -> None:
        subprocess.run([*here, "-batch", "-"], input=storm, text=True, check=True)

    async def watch() -> tuple[bool, int]:
        gone = asyncio.Event()
        has_removed = False

        def changed() -> None:
            nonlocal has_removed
            if not has_removed:
                subprocess.run([*here, "route", "del", "default"], check=True)
                has_removed = True
            elif not any(watching.kernel.leads_beyond(each.index, None) for each in watching.kernel.devices):
                gone.set()

        watching = KernelWatch(changed)
        watching.open()
        happen()
        try:
            await asyncio.wait_for(gone.wait(), HEARD_S)
        except TimeoutError:
            pass
        finally:
            watching.close()
        return gone.is_set(), sum(each.version == 4 for each in watching.kernel.own_addresses())

    assert net.inside(lambda: asyncio.run(watch())) == (True, 1)
