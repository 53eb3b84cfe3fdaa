"""rtnetlink as octets: what the kernel says of devices, addresses and routes, and the questions to it. Pure.

Only what tells whether there is a way out is read; attributes that we don't know are passed over."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cmail.world import IPAddress

# linux/netlink.h, linux/rtnetlink.h
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK: Final = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ADDRESS: Final = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # family, dst, src, tos, table, protocol, scope, type, flags
_HOP: Final = struct.Struct("=HBBi")  # length, flags, hops, index
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_U32: Final = struct.Struct("=I")
_I32: Final = struct.Struct("=i")

_ERROR, _DONE, _OVERRUN = 2, 3, 4
_NEW_LINK, _DEL_LINK, GET_LINKS = 16, 17, 18
_NEW_ADDRESS, _DEL_ADDRESS, GET_ADDRESSES = 20, 21, 22
_NEW_ROUTE, _DEL_ROUTE, GET_ROUTES = 24, 25, 26
_REQUEST: Final = 0x1
_INTERRUPTED: Final = 0x10  # of a dump: something changed meanwhile
_REPLACE: Final = 0x100
_DUMP: Final = 0x300

# Links; addresses, routes and rules of IPv4 and IPv6. Of rules nothing is read: the way may be another now.
GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000

_IS_UP, _IS_LOOPBACK, _IS_LOWER_UP = 0x1, 0x8, 0x10000
_DORMANT: Final = 5  # carrier, but nobody has let us in yet (802.1X, Wi-Fi)
_TENTATIVE_OR_WORSE: Final = 0x40 | 0x08  # nobody has said yet that the address is free, or it is not
_CLONED: Final = 0x200  # a route of the cache
_UNICAST: Final = 1
_TABLE_LOCAL: Final = 255
_INET, _INET6 = 2, 10
_TYPE_MASK: Final = 0x3FFF  # without the flags "nested" and "network byte order"


@dataclass(frozen=True, slots=True)
class Device:
    """A network device."""

    index: int
    name: str  # "" in a message that does not tell it
    is_up: bool  # somebody wants it up
    has_carrier: bool  # and there is something at its other end
    is_loopback: bool = False
    operstate: int = 0  # RFC 2863 §6, as Linux counts; 0: it does not say


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address of this machine on a device."""

    index: int
    address: IPAddress
    is_usable: bool = True  # not while it is tentative (RFC 4862 §5.4)


@dataclass(frozen=True, slots=True)
class Route:
    """A route that leads somewhere (unicast)."""

    version: int  # 4 or 6
    table: int
    prefix: bytes  # its octets; b"" for a default route
    prefix_length: int
    priority: int
    indexes: tuple[int, ...]  # the devices; several where it has several next hops
    source: IPAddress | None = None
    is_cloned: bool = False  # no route of a table, but the way to one address, as asked for

    @property
    def is_default(self) -> bool:
        """Whether it leads to everywhere, or to half of it (as VPNs write it)."""
        return self.prefix_length <= 1

    def covers(self, address: IPAddress) -> bool:
        """Whether it leads to an address."""
        if address.version != self.version:
            return False
        size = 8 * len(address.packed)
        shift = size - self.prefix_length
        prefix = self.prefix + bytes(len(address.packed) - len(self.prefix))
        return int.from_bytes(prefix) >> shift == int(address) >> shift


@dataclass(frozen=True, slots=True)
class Added:
    """It is there now, or is otherwise than before."""

    what: Device | OwnAddress | Route
    is_replacing: bool = False  # a route that takes the place of what had its prefix and priority


@dataclass(frozen=True, slots=True)
class Gone:
    """It is not there any more."""

    what: Device | OwnAddress | Route


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a dump."""

    is_interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer to a question is an error of the kernel."""

    errno: int


Message = Added | Gone | Done | Failed


def dump_question(kind: int, sequence: int) -> bytes:
    """Tell all: GET_LINKS, GET_ADDRESSES or GET_ROUTES."""
    body = _LINK.pack(0, 0, 0, 0, 0) if kind == GET_LINKS else _ROUTE.pack(*[0] * 9)
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _DUMP, sequence, 0) + body


def route_question(address: IPAddress, sequence: int) -> bytes:
    """Which way to an address?"""
    packed = address.packed
    family = _INET if address.version == 4 else _INET6
    body = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), 1) + packed
    return _HEADER.pack(_HEADER.size + len(body), GET_ROUTES, _REQUEST, sequence, 0) + body


def parse(octets: bytes) -> list[Message]:
    """What one datagram says, in order; ValueError when it is none of the kernel's."""
    found: list[Message] = []
    at = 0
    while at < len(octets):
        if at + _HEADER.size > len(octets):
            raise ValueError("a header is cut off")
        length, kind, flags, _, _ = _HEADER.unpack_from(octets, at)
        if length < _HEADER.size or at + length > len(octets):
            raise ValueError("a message has a wrong length")
        message = _message(kind, flags, octets[at + _HEADER.size : at + length])
        if message is not None:
            found.append(message)
        at += (length + 3) & ~3
    return found


def _message(kind: int, flags: int, body: bytes) -> Message | None:
    if kind == _DONE:
        return Done(bool(flags & _INTERRUPTED))
    if kind == _OVERRUN:
        return Failed(105)  # ENOBUFS
    if kind == _ERROR:
        if len(body) < _I32.size:
            raise ValueError("an error without a number")
        return Failed(-_I32.unpack_from(body)[0] & 0x7FFFFFFF)
    reader = _READERS.get(kind & ~1)
    what = reader(body) if reader is not None else None
    if what is None:
        return None
    return Gone(what) if kind & 1 else Added(what, bool(flags & _REPLACE))


def _attributes(octets: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + _ATTRIBUTE.size <= len(octets):
        length, kind = _ATTRIBUTE.unpack_from(octets, at)
        if length < _ATTRIBUTE.size or at + length > len(octets):
            raise ValueError("an attribute has a wrong length")
        yield kind & _TYPE_MASK, octets[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _device(body: bytes) -> Device | None:
    family, _, index, flags, _ = _unpack(_LINK, body)
    if family:
        return None  # of a bridge's port: the device itself has messages of its own
    name, operstate = "", 0
    for kind, value in _attributes(body, _LINK.size):
        if kind == 3:
            name = value.rstrip(b"\0").decode("utf-8", "replace")
        elif kind == 16 and value:
            operstate = value[0]
    is_up = bool(flags & _IS_UP)
    has_carrier = is_up and bool(flags & _IS_LOWER_UP) and operstate != _DORMANT
    return Device(index, name, is_up, has_carrier, bool(flags & _IS_LOOPBACK), operstate)


def _own_address(body: bytes) -> OwnAddress | None:
    family, _, flags, _, index = _unpack(_ADDRESS, body)
    address, local = None, None
    for kind, value in _attributes(body, _ADDRESS.size):
        if kind == 1:
            address = value
        elif kind == 2:
            local = value  # of a point to point device; the other is its peer's
        elif kind == 8 and len(value) == _U32.size:
            (flags,) = _U32.unpack(value)
    found = _ip(family, local or address)
    return None if found is None else OwnAddress(index, found, not flags & _TENTATIVE_OR_WORSE)


def _route(body: bytes) -> Route | None:
    """None for what leads nowhere: local, broadcast, unreachable, blackhole."""
    family, length, _, _, table, _, _, type_, flags = _unpack(_ROUTE, body)
    if family not in (_INET, _INET6) or type_ != _UNICAST:
        return None
    prefix, priority, indexes, source = b"", 0, [], None
    for kind, value in _attributes(body, _ROUTE.size):
        if kind == 1:
            prefix = value
        elif kind == 7:
            source = _ip(family, value)
        elif kind == 9:
            indexes += _hops(value)
        elif len(value) == _U32.size and kind in (4, 6, 15):
            (number,) = _U32.unpack(value)
            if kind == 4:
                indexes.append(number)
            elif kind == 6:
                priority = number
            else:
                table = number
    size = 4 if family == _INET else 16
    if table == _TABLE_LOCAL or len(prefix) not in (0, size) or length > 8 * size:
        return None
    version, is_cloned = 4 if family == _INET else 6, bool(flags & _CLONED)
    return Route(version, table, prefix, length, priority, tuple(indexes), source, is_cloned)


def _hops(octets: bytes) -> list[int]:
    found, at = [], 0
    while at + _HOP.size <= len(octets):
        length, _, _, index = _HOP.unpack_from(octets, at)
        if length < _HOP.size:
            raise ValueError("a next hop has a wrong length")
        found.append(index)
        at += (length + 3) & ~3
    return found


def _unpack(layout: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) < layout.size:
        raise ValueError("a message is cut off")
    return layout.unpack_from(body)


def _ip(family: int, octets: bytes | None) -> IPAddress | None:
    if family == _INET and octets is not None and len(octets) == 4:
        return IPv4Address(octets)
    if family == _INET6 and octets is not None and len(octets) == 16:
        return IPv6Address(octets)
    return None


_READERS: Final = {_NEW_LINK: _device, _NEW_ADDRESS: _own_address, _NEW_ROUTE: _route}
