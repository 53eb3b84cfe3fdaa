"""A bad link between two network namespaces: rate, delay, loss and cuts, applied to each IP packet.

Each namespace has one end of it as a TUN device; both ends use the kernel's own TCP. A process of its own
moves the packets, so that nothing else that the measurement does delays them."""

import fcntl
import heapq
import multiprocessing
import os
import random
import select
import struct
import time
from dataclasses import astuple, dataclass
from multiprocessing.connection import Connection
from typing import Any

TUNSETIFF, TUNSETCARRIER = 0x400454CA, 0x400454E2
IFF_TUN_WITHOUT_HEADER = 0x1001
PACKETS_A_TURN = 64
NEAR, FAR = 0, 1
TCP = 6
SYN, RST, ACK = 2, 4, 16


@dataclass(frozen=True)
class Kind:
    """What the link is like, the same in both directions."""

    kbit: float
    round_trip_ms: float
    loss_percent: float = 0.0
    is_new_address: bool = False  # after a cut: what was connected before is connected no more

    def __str__(self) -> str:
        loss = f", {self.loss_percent:g} % loss" if self.loss_percent else ""
        return f"{self.kbit:g} kbit/s, {self.round_trip_ms:g} ms{loss}"


@dataclass(frozen=True)
class Counts:
    """What the link has carried."""

    octets_out: int
    octets_in: int
    packets_out: int
    packets_in: int
    lost: int
    connections: int

    def since(self, before: "Counts") -> "Counts":
        """What it has carried since then."""
        return Counts(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))


def open_device(name: str) -> int:
    """A TUN device in this namespace; the end of it that a program holds."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_WITHOUT_HEADER))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Wire:
    """The link as the measurement holds it. It begins down."""

    def __init__(self, kind: Kind, devices: tuple[int, int]) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(
            target=_carry, args=(kind, devices, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def up(self) -> float:
        """Let packets through; when that was (monotonic)."""
        return float(self._ask("up"))

    def down(self) -> float:
        """Let none through any more; those on their way are gone."""
        return float(self._ask("down"))

    def counts(self) -> Counts:
        """So far."""
        return Counts(*self._ask("counts"))

    def close(self) -> None:
        """Take it away."""
        self._process.terminate()
        self._process.join()

    def _ask(self, question: str) -> Any:
        self._ours.send(question)
        return self._ours.recv()


def _carry(kind: Kind, devices: tuple[int, int], orders: Connection) -> None:
    link = _Link(kind, devices)
    watched = [*devices, orders.fileno()]
    while True:
        wait_s = link.deliver(time.monotonic())
        readable, _, _ = select.select(watched, [], [], wait_s)
        now = time.monotonic()
        for side in (NEAR, FAR):
            if devices[side] in readable:
                link.take(side, now)
        if orders.fileno() in readable:
            orders.send(link.answer(orders.recv(), now))


class _Link:
    def __init__(self, kind: Kind, devices: tuple[int, int], seed: int = 7) -> None:
        self._devices = devices
        self._rate = kind.kbit * 1000 / 8
        self._delay_s = kind.round_trip_ms / 2000
        self._loss = kind.loss_percent / 100
        self._is_new_address = kind.is_new_address
        self._room_s = max(
            30_000 / self._rate, 2 * kind.round_trip_ms / 1000
        )  # as modems have: they keep much
        self._chance = (random.Random(seed), random.Random(seed + 1))
        self._free_at = [0.0, 0.0]
        self._flying: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._octets, self._packets = [0, 0], [0, 0]
        self._lost = 0
        self._connections = 0
        self._flows: set[tuple[int, int]] = set()
        self._dead: set[tuple[int, int]] = set()
        self._is_up = True
        self._set(is_up=False)

    def answer(self, question: str, now: float) -> Any:
        if question == "counts":
            return (*self._octets, *self._packets, self._lost, self._connections)
        self._set(is_up=question == "up")
        return now

    def _set(self, *, is_up: bool) -> None:
        if self._is_up and not is_up and self._is_new_address:
            self._dead |= self._flows
            self._flows = set()
        self._is_up = is_up
        self._flying.clear()
        self._free_at = [0.0, 0.0]
        fcntl.ioctl(self._devices[NEAR], TUNSETCARRIER, struct.pack("i", is_up))

    def take(self, side: int, now: float) -> None:
        """Packets that one end sends."""
        for _ in range(PACKETS_A_TURN):
            try:
                packet = os.read(self._devices[side], 65536)
            except OSError:
                return
            if self._is_up and packet[0] >> 4 == 4:
                self._packet(side, packet, now)

    def _packet(self, side: int, packet: bytes, now: float) -> None:
        if packet[9] == TCP:
            start = (packet[0] & 15) * 4
            ports = struct.unpack_from("!HH", packet, start)
            flow = ports if side == NEAR else (ports[1], ports[0])
            flags = packet[start + 13]
            if flags & SYN and not flags & ACK:
                self._dead.discard(flow)
                self._connections += 1
            self._flows.add(flow)
            if flow in self._dead:
                if side == NEAR and not flags & RST:  # who gives out the addresses knows it no more
                    self._send(FAR, reset_for(packet), now + 2 * self._delay_s)
                return
        self._send(side, packet, now)

    def _send(self, side: int, packet: bytes, now: float) -> None:
        start = max(now, self._free_at[side])
        if start - now > self._room_s:
            self._lost += 1
            return
        self._free_at[side] = start + len(packet) / self._rate
        self._octets[side] += len(packet)
        self._packets[side] += 1
        if self._chance[side].random() < self._loss:
            self._lost += 1
            return
        self._count += 1
        heapq.heappush(self._flying, (self._free_at[side] + self._delay_s, self._count, 1 - side, packet))

    def deliver(self, now: float) -> float:
        """What has arrived by now; how long until the next does."""
        flying = self._flying
        while flying and flying[0][0] <= now:
            _, _, side, packet = heapq.heappop(flying)
            try:
                os.write(self._devices[side], packet)
            except OSError:
                self._lost += 1
        return max(0.0, flying[0][0] - now) if flying else 1.0


def reset_for(packet: bytes) -> bytes:
    """The RST that answers a TCP packet, as from its other end."""
    start = (packet[0] & 15) * 4
    source, target = packet[12:16], packet[16:20]
    source_port, target_port, sequence, acknowledged = struct.unpack_from("!HHII", packet, start)
    segment = struct.pack("!HHIIBBHHH", target_port, source_port, acknowledged, sequence, 0x50, RST, 0, 0, 0)
    pseudo = target + source + struct.pack("!BBH", 0, TCP, len(segment))
    segment = segment[:16] + struct.pack("!H", _checksum(pseudo + segment)) + segment[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, TCP, 0) + target + source
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + segment


def _checksum(octets: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
