"""Is a link up? What was said by hand, what the kernel shows and what the probe saw, weighed. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cmail.net.kernel import Kernel
from cmail.net.rtnetlink import Device
from cmail.world import IPAddress

LINE: Final = "line"  # the link's name where none is named: whatever the kernel has


class State(Enum):
    """How a link is. Unknown delivers."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state, and why in words for people."""

    state: State
    why: str

    @property
    def is_down(self) -> bool:
        """Whether nothing can go by it."""
        return self.state is State.DOWN


NOBODY_KNOWS: Final = Verdict(State.UNKNOWN, "nobody has said how it is")


def of_via(
    kernel: Kernel, globs: Sequence[str], upstream: IPAddress | None, said_down: Collection[str]
) -> Verdict:
    """What the kernel shows of the devices of one link: up when one of them can carry mail."""
    devices = kernel.named(globs)
    if not devices:
        return Verdict(State.DOWN, f"there is no device {' or '.join(globs)}")
    found = [_of_device(kernel, device, upstream, said_down) for device in devices]
    return max(found, key=lambda pair: pair[0])[1]  # the one that got furthest


def _of_device(
    kernel: Kernel, device: Device, upstream: IPAddress | None, said_down: Collection[str]
) -> tuple[int, Verdict]:
    """How far it gets, and what stops it."""
    name = device.name
    if not device.is_up:
        return 1, Verdict(State.DOWN, f"{name} is switched off")
    if name in said_down:
        return 2, Verdict(State.DOWN, f"{name} was said to be down")
    if not device.has_carrier:
        return 3, Verdict(State.DOWN, f"{name} has no carrier")
    if not kernel.addresses(device.index):
        return 4, Verdict(State.DOWN, f"{name} has no address")
    if not kernel.leads_beyond(device.index, upstream):
        return 5, Verdict(State.DOWN, f"{name} has no route to the Internet")
    return 6, Verdict(State.UP, f"{name} has carrier, address and route")


def of_line(kernel: Kernel, way: int | None, had_way: bool, said_down: Collection[str]) -> Verdict:
    """What the kernel shows where no link is named. `way`: the device by which it goes to the upstream
    server. A machine on which there never was a way out is one of which nothing is known."""
    if way is not None and (here := kernel.device(way)) is not None and here.is_loopback:
        return Verdict(State.UP, "the upstream server is on this machine")
    routed = [device for device in kernel.devices if is_routed(kernel, device, way)]
    for device in routed:
        if device.has_carrier and device.name not in said_down:
            return Verdict(State.UP, f"mail goes by {device.name}")
    if not had_way:
        return Verdict(State.UNKNOWN, "there is no way to the Internet, and never was one")
    for device in routed:
        if device.name in said_down:
            return Verdict(State.DOWN, f"{device.name} was said to be down")
        return Verdict(State.DOWN, f"{device.name} has no carrier")
    return Verdict(State.DOWN, "there is no route to the Internet")


def is_routed(kernel: Kernel, device: Device, way: int | None) -> bool:
    """Whether mail may go by a device: it is the kernel's way, or leads beyond its own network."""
    return device.index == way or kernel.leads_beyond(device.index, None)


class Hand(Enum):
    """What people or hooks have said last; it holds until they say otherwise."""

    NOTHING = ""
    UP = "up"
    DOWN = "down"


def judge(hand: Hand, kernel: Verdict, against: Verdict | None, probe: Verdict | None) -> Verdict:
    """All that is known of one link. `against`: what the kernel showed when a hand said up; while it shows
    no other, the hand is right. `probe`: what it found wrong, None for nothing."""
    if hand is Hand.DOWN:
        return Verdict(State.DOWN, "it was taken down by hand (cmail link down)")
    if kernel.is_down:
        if hand is Hand.UP and kernel == against:
            return Verdict(State.UP, f"it was said to be up, though {kernel.why}")
        return kernel
    if probe is not None:
        return probe
    if hand is Hand.UP and kernel.state is State.UNKNOWN:
        return Verdict(State.UP, "it was said to be up (cmail link up)")
    return kernel
