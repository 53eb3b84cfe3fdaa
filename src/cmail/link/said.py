"""SaidDown: the network devices that somebody said are down: people, or hooks of other programs. No I/O."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from cmail.net.kernel import Kernel
from cmail.net.rtnetlink import Device

DEVICES_SAID_MAX: Final = 64


class SaidDown:
    """What people say of a device holds until they say otherwise or it is made anew, and outlives us. What a
    hook says holds while the kernel shows nothing of it (a modem that dials on demand keeps its device): from
    the moment that the kernel shows it out of service, the kernel's word is enough. It does not outlive us:
    an "up" that nobody was there to hear must not be missed for ever."""

    def __init__(self) -> None:
        self._people: dict[str, int] = {}  # by name: the device's number then
        self._hooks: dict[str, int] = {}

    @property
    def names(self) -> Collection[str]:
        """All of them."""
        return self._people.keys() | self._hooks.keys()

    def show(self, kernel: Kernel) -> None:
        """How the kernel sees it now: what is no longer true is forgotten."""
        devices = {device.name: device for device in kernel.devices}
        self._people = {
            name: index
            for name, index in self._people.items()
            if name not in devices or devices[name].index == index
        }
        self._hooks = {
            name: index
            for name, index in self._hooks.items()
            if name in devices and devices[name].index == index and _is_in_service(kernel, devices[name])
        }

    def down(self, name: str, index: int) -> None:
        """People say so."""
        if len(self._people) < DEVICES_SAID_MAX:
            self._people[name] = index

    def up(self, name: str) -> None:
        """People say so."""
        self._people.pop(name, None)
        self._hooks.pop(name, None)

    def hear_down(self, device: Device) -> None:
        """A hook says so."""
        if len(self._hooks) < DEVICES_SAID_MAX:
            self._hooks[device.name] = device.index

    def hear_up(self, name: str) -> None:
        """A hook says so; against people's word it says nothing."""
        self._hooks.pop(name, None)

    def clear(self) -> None:
        """People say that all is up, or down."""
        self._people.clear()
        self._hooks.clear()

    def record(self) -> dict[str, int]:
        """What outlives us."""
        return dict(self._people)

    def resume(self, record: Any) -> None:
        """Go on from a record; what makes no sense in it is left out."""
        if isinstance(record, dict):
            self._people = {str(n): index for n, index in _some(record.items()) if type(index) is int}


def _is_in_service(kernel: Kernel, device: Device) -> bool:
    return device.is_up and device.has_carrier and bool(kernel.addresses(device.index))


def _some(items: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return list(items)[:DEVICES_SAID_MAX]
