"""The parsers of the link: what the kernel says, times and windows, what stands in its files, what kicks hear."""

import asyncio
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from cmail.app.site_seen import read_seen
from cmail.link import lived
from cmail.link.clock import LinkView
from cmail.link.collect.ledger import _entry as ledger_entry
from cmail.link.exchanges import Exchanges
from cmail.link.history import History
from cmail.link.kicks.atrn import judge_atrn
from cmail.link.kicks.etrn import judge_etrn, wants_queue_name
from cmail.link.kicks.texts import atrn_line, etrn_argument, unescape
from cmail.link.links import Links
from cmail.link.settings import ExchangeSettings, LinkSettings, ViaSettings
from cmail.link.state import read_record, read_state
from cmail.link.waiting import Tally, add_waiting, read_gone
from cmail.link.windows import next_begin, open_until, parse_slot
from cmail.net.control import ControlError
from cmail.net.kernel import Kernel
from cmail.net.rtnetlink import parse
from cmail.policy.orders import parse_orders
from cmail.policy.rates import Buckets
from cmail.protocol.smtp.client_handshake import HandshakeError
from cmail.protocol.smtp.client_replies import Replies, read_reply
from cmail.settings import ByteSize
from cmail.smtpd.collected import _parse as parse_handover
from cmail.smtpd.finger import answer_finger
from tests.fuzz.parser import Parser, text
from tests.support.clock import FakeClock
from tests.support.fake_sites import FakeSites
from tests.support.intake import ListLog, make_context

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
    fields = json.loads(octets)
    if not isinstance(fields, dict):
        raise ValueError
    found = parse_orders(fields)
    assert parse_orders(found.fields()) == found
    assert max(found.size_max, found.urgent_size_max, found.size_ever) < 1 << 63 > found.rate * 125


@cache
def _folder(process: int) -> Path:
    """A process's own: parsers have children."""
    return Path(tempfile.mkdtemp(prefix=f"cmail-fuzz-{process}-"))


def _file(name: str, octets: bytes) -> str:
    path = _folder(os.getpid()) / name
    path.write_bytes(octets)
    return str(path)


def link_file(octets: bytes) -> None:
    """link.json of any kind: the link begins, up unless it makes sense; what is written again is read as the
    same; its clock is one that the spool can count with."""
    path = _file("link.json", octets)
    reading, orders = read_state(path, ListLog())
    view = LinkView(FakeClock(), reading, orders)
    assert abs(view.link_ms()) < 1 << 60 and view.down_for_ms < 1 << 60
    for settings in (
        LinkSettings(),
        LinkSettings(via=(ViaSettings("a", device=("eth*",), budget=ByteSize(1000)),)),
    ):
        links = Links(settings)
        links.resume(read_record(path, ListLog()))
        links.judge(0)
        words = links.outlook(_NOW_S).words
        again = Links(settings)
        again.resume(json.loads(json.dumps(links.record())))
        again.judge(0)
        assert again.outlook(_NOW_S).words == words


def history_file(octets: bytes) -> None:
    """link-history.json: entries that can be counted with and written again, or none."""
    history = History(_file("history.json", octets), ListLog())
    history.open()
    again = History(_file("again.json", history.octets()), ListLog())
    again.open()
    assert again.entries == history.entries
    exchanges = Exchanges(ExchangeSettings(), is_batch=False, now_s=_NOW_S)
    for entry in history.entries:
        assert entry.end_ms >= 0 and entry.cost >= 0
        exchanges.resume(entry.begin_ms, entry.end_ms)


def clock_file(octets: bytes) -> None:
    """clock.json: a clock that goes on."""
    clock = lived.resume(_file("clock.json", octets), FakeClock(), ListLog())
    assert 0 <= clock.wall_ms() < 1 << 60


def sites_file(octets: bytes) -> None:
    """sites.json."""
    _file("sites.json", octets)
    for ms, how in read_seen(str(_folder(os.getpid()))).values():
        assert 0 <= ms < 1 << 60 and isinstance(how, str)


def kick_texts(octets: bytes) -> None:
    """What kicks say is one line, or what the settings ask for; never more commands than one."""
    said, found = text(octets), 0
    for make in (lambda each: f"ETRN {etrn_argument(each)}\r\n".encode("ascii"), atrn_line):
        try:
            line = make(said)
        except ValueError:
            continue
        found += 1
        assert line.count(b"\r") == line.count(b"\n") == 1 and line.endswith(b"\r\n") and len(line) <= 512
    try:
        assert unescape(said).endswith(b"\n")
    except ValueError:
        if not found:
            raise


def kick_replies(octets: bytes) -> None:
    """What a server answers to ETRN and ATRN: always some verdict with words on a line."""
    reader = Replies()
    for reply in reader.feed(octets):
        for verdict, words in (judge_etrn(read_reply(reply)), judge_atrn(read_reply(reply))):
            assert verdict and words.isprintable()
        wants_queue_name(read_reply(reply), "example.org")


def finger_line(octets: bytes) -> None:
    """A line at the finger listener: one line back, and only a site's own name from its own network counts."""
    loop, context, sites = _desk(os.getpid())
    sites.came_there.clear()
    client = context.client("192.0.2.7")
    answer = loop.run_until_complete(answer_finger(context, client, octets, Buckets(5, 60)))
    assert answer.endswith(b"\r\n") and answer.count(b"\n") == 1 and answer[:-2].decode("ascii").isprintable()
    assert not sites.came_there or b"ship.example" in octets.lower()


@cache
def _desk(_process: int) -> tuple[asyncio.AbstractEventLoop, Any, FakeSites]:
    sites = FakeSites()
    return asyncio.new_event_loop(), make_context(sites=sites), sites


def handover(octets: bytes) -> None:
    """What the link process says of a message that it has fetched."""
    fields = json.loads(octets)
    if not isinstance(fields, dict):
        raise ValueError
    found = parse_handover(fields)
    assert "/" not in found.token and found.recipients


def ledger_row(octets: bytes) -> None:
    """A row of the ledger whose note of what is to be handed over was damaged."""
    entry = ledger_entry((1, "uid", 1, 1, "", 0, 0, "token", text(octets), ""))
    assert isinstance(entry.handover, dict)


def worker_figures(octets: bytes) -> None:
    """What workers say of their queues and counters: sums that never fall below nothing."""
    fields = json.loads(octets)
    if not isinstance(fields, dict):
        raise ValueError
    assert min(add_waiting([fields, fields]).fields().values()) >= 0
    tally = Tally()
    for _ in range(2):
        assert tally.take("worker-0", read_gone(fields)).octets >= 0


_FILE: Final = (
    b'{"is_down": true, "down_ms": 5, "periods": 2, "changed_wall_ms": 1700000000000, "had_way": true, '
    b'"upstream": ["192.0.2.1"], "devices_down": {"ppp0": 7}, "links": {"line": {"hand": "down", "day": '
    b'"2027-01-05", "used": 5}, "a": {"hand": "up", "day": "", "used": 0}}, "orders": {"size_max": -1, '
    b'"urgent_size_max": 5, "is_exchange_open": true, "rate": 256, "words": "x"}}'
)
_HISTORY: Final = (
    b'{"exchanges": [{"begin_ms": 1700000000000, "why": "a", "link": "line", "end_ms": 0, "ended": "", '
    b'"cost": 0.5, "octets_out": 7, "kicks": ["kick: sent"], "collections": []}]}'
)
_NUMBERS: Final = (b"1e999", b"NaN", b"-1", b"9" * 40, b"true", b"null", b'"x"', b"[]", b"{}")

LINK: Final = {
    "link.json": Parser(link_file, (), (_FILE, b"", b"{}"), 65536, ((b"", b""), (b"[", b"")), _NUMBERS),
    "exchange history": Parser(
        history_file, (), (_HISTORY, b""), 65536, ((b"", b""), (b'{"exchanges": [', b"]}")), _NUMBERS
    ),
    "clock.json": Parser(
        clock_file, (), (b'{"lived_ms": 1700000000000, "wall_ms": 1700000000000}',), 4096, fragments=_NUMBERS
    ),
    "sites.json": Parser(
        sites_file, (), (b'{"ship": {"seen_ms": 5, "how": "ATRN"}}',), 65536, fragments=_NUMBERS
    ),
    "kick's text": Parser(
        kick_texts, (ValueError,), (b"example.org", b"@a.b", b"#q", b"*", b"a\\r\\n"), 4096
    ),
    "kick's reply": Parser(
        kick_replies,
        (HandshakeError, ValueError),
        (b"253 OK, 3 pending messages for node x started\r\n", b"501 argument must begin with #\r\n"),
        65536,
        fragments=(b"458 ", b"250-a\r\n"),
    ),
    "finger line": Parser(finger_line, (), (b"ship.example\r", b"/W SHIP.example"), 512),
    "collect handover": Parser(
        handover,
        (ValueError, RecursionError, ControlError),
        (
            b'{"file": "0123456789abcdef", "account": "isp", "protocol": "pop3", "host": "h", "recipients": '
            b'["anna@example.org"], "from": "", "is_report": false}',
        ),
        65536,
        fragments=(b'"../../etc"', b'"a@b",', b'"\\r\\n"'),
    ),
    "ledger row": Parser(ledger_row, (), (b'{"account": "isp"}', b""), 65536),
    "figures of workers": Parser(
        worker_figures,
        (ValueError, RecursionError),
        (b'{"messages": 5, "octets": 7, "oldest_ms": 1, "octets_out": 5}',),
        65536,
        fragments=_NUMBERS,
    ),
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
