"""The parsers of the link: what the kernel says, times and windows, what stands in link.json."""

from pathlib import Path
from typing import Final

from cmail.link.windows import next_begin, open_until, parse_slot
from cmail.net.kernel import Kernel
from cmail.net.rtnetlink import parse
from cmail.policy.orders import parse_orders
from tests.fuzz.parser import Parser, text

_RECORDED: Final = Path(__file__).parents[1] / "unit" / "net" / "rtnetlink.recorded"
_DATAGRAMS: Final = [
    bytes.fromhex(line.split()[1]) for line in _RECORDED.read_text().splitlines() if not line.startswith("#")
]
_NOW_S: Final = 1_800_000_000.0


def rtnetlink(octets: bytes) -> None:
    """A datagram of the kernel's, and what becomes of the model."""
    kernel = Kernel()
    kernel.apply(parse(octets))
    assert kernel.living_addresses() <= kernel.own_addresses()


def slot(octets: bytes) -> None:
    """A time or a window of the settings: what begins next is later than now."""
    found = parse_slot(text(octets))
    begin_s, end_s = next_begin([found], _NOW_S), open_until([found], _NOW_S)
    assert begin_s is not None and begin_s > _NOW_S
    assert end_s is None or end_s > _NOW_S


def orders(octets: bytes) -> None:
    """Orders of the link, from a control socket or the file."""
    import json

    fields = json.loads(octets)
    if not isinstance(fields, dict):
        raise ValueError
    found = parse_orders(fields)
    assert parse_orders(found.fields()) == found


LINK: Final = {
    "rtnetlink": Parser(
        rtnetlink,
        (ValueError,),
        tuple(_DATAGRAMS[:12]),
        65536,
        ((b"", b""), (_DATAGRAMS[0], b"")),
        (b"\x08\0\x04\0\x02\0\0\0", b"\x10\0\0\0\x03\0\0\0"),
    ),
    "times and windows": Parser(
        slot,
        (ValueError,),
        (b"08:00", b"Mon-Fri 22:00-06:00", b"Sat,Sun 00:00-24:00"),
        4096,
        fragments=(b"Mon,", b"-Fri", b"08:00-", b" 09:30"),
    ),
    "orders": Parser(
        orders,
        (ValueError, RecursionError),
        (b'{"size_max":1,"urgent_size_max":2,"rate":3,"is_exchange_open":true,"watched":["a@b"]}',),
        65536,
        ((b"", b""), (b'{"watched":[', b"]}")),
        (b'"a",', b'"rate":-1,'),
    ),
}
