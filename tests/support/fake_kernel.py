"""A kernel's network as a test says it: devices with carrier, addresses and routes; the model is the real one."""

from ipaddress import ip_address

from cmail.link.links import Facts
from cmail.net.kernel import Kernel
from cmail.net.rtnetlink import Added, Device, OwnAddress, Route


class FakeKernel:
    """eth0 is device 2, and so on in the order in which they are made."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self._indexes: dict[str, int] = {}
        self._set(Device(1, "lo", True, True, True))
        self.way = ""  # the device by which the kernel goes to the upstream server

    def device(self, name: str, *, carrier: bool = True, up: bool = True) -> "FakeKernel":
        """A device that is as this says."""
        index = self._indexes.setdefault(name, len(self._indexes) + 2)
        return self._set(Device(index, name, up, up and carrier))

    def address(self, name: str, address: str = "192.0.2.7") -> "FakeKernel":
        """An address on a device."""
        return self._set(OwnAddress(self._indexes[name], ip_address(address)))

    def route(self, name: str, prefix: str = "0.0.0.0", length: int = 0, *, metric: int = 0) -> "FakeKernel":
        """A route by a device; the kernel goes by the last one that was made, unless a test says so."""
        self.way = name
        packed = ip_address(prefix).packed if length else b""
        return self._set(Route(4, 254, packed, length, metric, (self._indexes[name],)))

    def whole(self, name: str, address: str = "192.0.2.7") -> "FakeKernel":
        """A device with all that it needs."""
        return self.device(name).address(name, address).route(name)

    def no_route(self) -> "FakeKernel":
        """All routes are gone."""
        self.way = ""
        self.kernel.renew_routes([])
        return self

    def facts(self, upstream: str = "") -> Facts:
        """As the link hears of it."""
        return Facts(self.kernel, self._indexes.get(self.way), ip_address(upstream) if upstream else None)

    def _set(self, what: Device | OwnAddress | Route) -> "FakeKernel":
        self.kernel.apply([Added(what)])
        return self
