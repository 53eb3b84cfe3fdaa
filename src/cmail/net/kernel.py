"""Kernel: which devices, addresses and routes there are, kept up to date by what the kernel tells. No I/O."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from cmail.net.rtnetlink import Added, Device, Gone, Message, OwnAddress, Route
from cmail.world import IPAddress

ROUTES_MAX: Final = 10_000  # besides default routes: a router with all of the Internet's needs no more here


class Kernel:
    """What is known of it. Everything that counts devices leaves loopback out."""

    def __init__(self) -> None:
        self._devices: dict[int, Device] = {}
        self._addresses: dict[tuple[int, IPAddress], OwnAddress] = {}
        self._routes: set[Route] = set()
        self.is_doubtful = False  # routes may have gone that the kernel did not tell of: dump them again

    # What happens.

    def renew(self, messages: Iterable[Message]) -> None:
        """All anew, from a dump of everything."""
        self._devices.clear()
        self._addresses.clear()
        self._routes.clear()
        self.apply(messages)
        self.is_doubtful = False

    def renew_routes(self, messages: Iterable[Message]) -> None:
        """The routes anew, from a dump of them."""
        self._routes.clear()
        self.apply(messages)
        self.is_doubtful = False

    def apply(self, messages: Iterable[Message]) -> None:
        """What the kernel has told."""
        for message in messages:
            if isinstance(message, Added):
                self._add(message.what, message.is_replacing)
            elif isinstance(message, Gone):
                self._remove(message.what)

    def _add(self, what: Device | OwnAddress | Route, is_replacing: bool) -> None:
        if isinstance(what, Device):
            before = self._devices.get(what.index)
            if not what.name and before is not None:
                what = Device(
                    what.index, before.name, what.is_up, what.has_carrier, what.is_loopback, what.operstate
                )
            self._devices[what.index] = what
            if before is not None and before.is_up and not what.is_up:
                self.is_doubtful = True  # Linux flushes IPv4 routes without a word
        elif isinstance(what, OwnAddress):
            self._addresses[what.index, what.address] = what
        elif not what.is_cloned:
            if is_replacing:
                self._routes -= {route for route in self._routes if _has_same_place(route, what)}
            if what.is_default or len(self._routes) < ROUTES_MAX:
                self._routes.add(what)

    def _remove(self, what: Device | OwnAddress | Route) -> None:
        if isinstance(what, Device):
            self._devices.pop(what.index, None)
            self._addresses = {key: own for key, own in self._addresses.items() if key[0] != what.index}
            self.is_doubtful = True
        elif isinstance(what, OwnAddress):
            self._addresses.pop((what.index, what.address), None)
            self.is_doubtful = True
        elif what in self._routes:
            self._routes.discard(what)
        elif what.is_default and not what.is_cloned:
            self.is_doubtful = True  # one of several ways that were told as one route (IPv6)

    # What is.

    @property
    def devices(self) -> list[Device]:
        """All but loopback, by name."""
        found = [device for device in self._devices.values() if not device.is_loopback]
        return sorted(found, key=lambda device: device.name)

    def device(self, index: int) -> Device | None:
        """One by its number; loopback too."""
        return self._devices.get(index)

    def named(self, globs: Iterable[str]) -> list[Device]:
        """Those with a name that one of these says: "eth0", "wwan*"."""
        patterns = tuple(globs)
        return [d for d in self.devices if any(fnmatchcase(d.name, pattern) for pattern in patterns)]

    def addresses(self, index: int) -> list[IPAddress]:
        """The addresses of a device with which something beyond its own cable can be reached. One without any
        borrows those of loopback, as on servers that have a single address and no network."""
        usable = [own for own in self._addresses.values() if own.is_usable and not own.address.is_link_local]
        found = [own.address for own in usable if own.index == index]
        borrowed = (own for own in usable if self._is_loopback(own.index) and not own.address.is_loopback)
        return found or [own.address for own in borrowed]

    def leads_beyond(self, index: int, upstream: IPAddress | None) -> bool:
        """Whether a route by this device leads beyond its own network, or to the upstream server."""
        return any(
            index in route.indexes
            and (route.is_default or (upstream is not None and route.covers(upstream)))
            and self._has_source(route.version)
            for route in self._routes
        )

    def _has_source(self, version: int) -> bool:
        """Whether there is an address to go by it, of whichever device. IPv6 has its routes yet when
        its last one is gone (its router fell silent), and goes from one that nobody far away can answer."""
        return version == 4 or any(
            own.address.version == version and own.is_usable and not _is_near(own.address)
            for own in self._addresses.values()
        )

    @property
    def loopback(self) -> int | None:
        """The number of its device."""
        return next((index for index, device in self._devices.items() if device.is_loopback), None)

    def is_own(self, address: IPAddress) -> bool:
        """Whether an address is one of this machine's."""
        return address.is_loopback or any(own.address == address for own in self._addresses.values())

    def own_addresses(self) -> frozenset[IPAddress]:
        """All addresses there are, but those of loopback."""
        return frozenset(own.address for own in self._addresses.values() if not self._is_loopback(own.index))

    def living_addresses(self) -> frozenset[IPAddress]:
        """Those on devices that carry something."""
        return frozenset(
            own.address for own in self._addresses.values() if self._carries(own.index) and own.is_usable
        )

    def _carries(self, index: int) -> bool:
        device = self._devices.get(index)
        return device is not None and device.has_carrier and not device.is_loopback

    def _is_loopback(self, index: int) -> bool:
        device = self._devices.get(index)
        return device is not None and device.is_loopback


def _is_near(address: IPAddress) -> bool:
    return address.is_link_local or address.is_loopback


def _has_same_place(one: Route, other: Route) -> bool:
    return (one.version, one.table, one.prefix, one.prefix_length, one.priority) == (
        other.version,
        other.table,
        other.prefix,
        other.prefix_length,
        other.priority,
    )
