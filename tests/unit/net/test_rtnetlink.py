"""What the kernel says of devices, addresses and routes: octets that Linux 6.18 sent, played again.

The recording has what the socket of KernelWatch heard in a network namespace with one veth while the
commands in it were given: `event` came by itself, `answer` to a question."""

import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from cmail.net.kernel import ROUTES_MAX, Kernel
from cmail.net.rtnetlink import (
    GET_LINKS,
    Added,
    Device,
    Done,
    Failed,
    Gone,
    Message,
    OwnAddress,
    Route,
    dump_question,
    parse,
    route_question,
)

V4, V6 = ip_address("10.9.0.1"), ip_address("2001:db8::1")


def steps() -> Iterator[tuple[str, list[Message], list[Message]]]:
    """Each command with the events and the answers that followed it."""
    text = (Path(__file__).parent / "rtnetlink.recorded").read_text()
    for step in text.split("# ")[1:]:
        command, *lines = step.splitlines()
        told: dict[str, list[Message]] = {"event": [], "answer": []}
        for kind, octets in (line.split() for line in lines):
            told[kind] += parse(bytes.fromhex(octets))
        yield command, told["event"], told["answer"]


def played() -> Iterator[tuple[str, Kernel, list[Message]]]:
    """The model after each step."""
    kernel = Kernel()
    for command, events, answers in steps():
        if command == "start":
            kernel.renew(answers)
        elif not command.startswith("way to"):
            kernel.apply(events)
            assert kernel.is_doubtful is bool(answers), command
            if answers:
                kernel.renew_routes(answers)
        yield command, kernel, answers


def test_a_device_comes_works_and_goes() -> None:
    """Carrier, addresses and ways out after each command, as `ip` would show them."""
    seen = []
    for command, kernel, _ in played():
        device = kernel.named(["v*"])
        seen.append(
            (
                command.partition(" dev")[0],
                "".join("UC"[n] for n, is_so in enumerate((device[0].is_up, device[0].has_carrier)) if is_so)
                if device
                else "gone",
                [str(each) for each in kernel.addresses(2)],
                kernel.leads_beyond(2, None),
            )
        )
    assert seen == [
        ("start", "", [], False),
        ("ip link set va up", "UC", [], False),
        ("ip link set lo up", "UC", [], False),
        ("ip addr add 10.9.0.1/24", "UC", ["10.9.0.1"], False),
        ("ip route add default via 10.9.0.2", "UC", ["10.9.0.1"], True),
        ("ip -n cmt8 link set vb down", "U", ["10.9.0.1"], True),
        ("ip -n cmt8 link set vb up", "UC", ["10.9.0.1"], True),
        ("ip route replace default via 10.9.0.3", "UC", ["10.9.0.1"], True),
        ("ip -6 addr add 2001:db8::1/64", "UC", ["10.9.0.1"], True),  # tentative yet
        ("ip -6 route add default via 2001:db8::2", "UC", ["10.9.0.1", "2001:db8::1"], True),
        ("way to 198.41.0.4", "UC", ["10.9.0.1", "2001:db8::1"], True),
        ("way to 127.0.0.1", "UC", ["10.9.0.1", "2001:db8::1"], True),
        ("ip route del default; ip -6 route del default", "UC", ["10.9.0.1", "2001:db8::1"], False),
        ("ip route add blackhole default", "UC", ["10.9.0.1", "2001:db8::1"], False),
        ("ip route replace unicast 0.0.0.0/1 via 10.9.0.2", "UC", ["10.9.0.1", "2001:db8::1"], True),
        ("ip addr flush", "UC", [], False),  # Linux takes the route away without a word
        ("ip route add 10.8.0.0/24", "", [], False),
        ("ip link del va", "gone", [], False),
        ("way to 198.41.0.4 without one", "gone", [], False),
    ]


def test_the_way_to_an_address() -> None:
    """The answer to RTM_GETROUTE: by which device and from where; this machine itself is no way out; an
    address that there is no way to is an error."""
    answers = {command: answers for command, _, answers in played() if command.startswith("way")}
    (out,) = answers["way to 198.41.0.4"]
    assert isinstance(out, Added) and isinstance(out.what, Route)
    assert out.what.indexes == (2,) and out.what.source == V4 and out.what.is_cloned
    assert answers["way to 127.0.0.1"] == []
    assert answers["way to 198.41.0.4 without one"] == [Failed(22)]


def test_a_way_that_was_asked_for_is_no_route() -> None:
    """The answer about one address does not come into the model."""
    kernel = Kernel()
    kernel.apply([Added(Route(4, 254, b"", 0, 0, (2,), None, is_cloned=True))])
    assert not kernel.leads_beyond(2, None)


def test_which_addresses_live() -> None:
    """Those of a device without carrier are there and lead nowhere; loopback does not count."""
    kernel = Kernel()
    kernel.apply(
        [
            Added(Device(1, "lo", True, True, True)),
            Added(Device(2, "eth0", True, True)),
            Added(Device(3, "wwan0", True, False)),
            Added(OwnAddress(1, ip_address("127.0.0.1"))),
            Added(OwnAddress(2, V4)),
            Added(OwnAddress(3, V6)),
        ]
    )
    assert kernel.own_addresses() == {V4, V6} and kernel.living_addresses() == {V4}
    assert [device.name for device in kernel.devices] == ["eth0", "wwan0"]
    kernel.apply([Gone(Device(2, "eth0", False, False))])
    assert kernel.own_addresses() == {V6}


@pytest.mark.parametrize(
    ("prefix", "length", "upstream", "leads"),
    [
        (b"", 0, None, True),
        (b"\x80\0\0\0", 1, None, True),
        (b"\x0a\x14\0\0", 16, None, False),
        (b"\x0a\x14\0\0", 16, "10.20.7.9", True),
        (b"\x0a\x14\0\0", 16, "10.21.7.9", False),
        (b"\x0a\x14\0\0", 16, "2001:db8::7", False),
    ],
)
def test_what_leads_beyond(prefix: bytes, length: int, upstream: str | None, leads: bool) -> None:
    """A default route, halves of one, and a route to the upstream server's network."""
    kernel = Kernel()
    kernel.apply([Added(Route(4, 254, prefix, length, 0, (2,)))])
    assert kernel.leads_beyond(2, ip_address(upstream) if upstream else None) is leads


def test_one_of_several_ways_that_were_told_as_one_route() -> None:
    """IPv6: the kernel tells of them together, and that one of them goes by itself. All is asked anew then."""
    kernel = Kernel()
    kernel.apply([Added(Route(6, 254, b"", 0, 1024, (2, 3)))])
    kernel.apply([Gone(Route(6, 254, b"\x20\x01" + bytes(14), 32, 1024, (2,)))])
    assert not kernel.is_doubtful, "of what is no default route nothing hangs on it"
    kernel.apply([Gone(Route(6, 254, b"", 0, 1024, (2,)))])
    assert kernel.is_doubtful


def test_a_router_with_the_whole_internet_costs_no_memory() -> None:
    """Beyond a number of routes only default ones are kept."""
    kernel = Kernel()
    routes = [Route(4, 254, n.to_bytes(4), 32, 0, (2,)) for n in range(ROUTES_MAX + 50)]
    kernel.apply(map(Added, routes))
    kernel.apply([Added(Route(4, 254, b"", 0, 0, (3,)))])
    assert kernel.leads_beyond(3, None)
    assert not kernel.leads_beyond(2, ip_address(ROUTES_MAX + 10))


def test_questions_are_what_the_kernel_reads() -> None:
    """A dump of links and a way to an address, octet by octet (linux/rtnetlink.h)."""
    assert dump_question(GET_LINKS, 7).hex() == (32).to_bytes(4, "little").hex() + "1200" + "0103" + (
        "07000000" + "00000000" + "00" * 16
    )
    assert route_question(V4, 1)[-8:].hex() == "08000100" + "0a090001"
    assert struct.unpack_from("=I", route_question(V6, 1))[0] == 16 + 12 + 4 + 16


@pytest.mark.parametrize(
    "octets",
    [
        b"\x10",
        b"\x08\0\0\0" + bytes(12),
        b"\xff\0\0\0" + bytes(12),
        struct.pack("=IHHII", 20, 16, 0, 0, 0) + bytes(4),
        struct.pack("=IHHII", 18, 2, 0, 0, 0) + bytes(2),
        struct.pack("=IHHII", 36, 16, 0, 0, 0) + bytes(16) + b"\x01\0\x03\0",
    ],
)
def test_what_the_kernel_never_sends_is_refused(octets: bytes) -> None:
    """ValueError; nothing half read, and no loop."""
    with pytest.raises(ValueError):
        parse(octets)


def test_ends_and_errors() -> None:
    """Done, with and without a change in the middle; an overrun is lost events."""
    done = struct.pack("=IHHII", 20, 3, 0x12, 1, 1) + bytes(4)
    assert parse(done) == [Done(is_interrupted=True)]
    assert parse(struct.pack("=IHHII", 20, 2, 0, 1, 1) + struct.pack("=i", -101)) == [Failed(101)]
    assert parse(struct.pack("=IHHII", 16, 4, 0, 1, 1)) == [Failed(105)]
