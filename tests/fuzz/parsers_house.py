"""The parsers of what the machine, its administrator and its own programs say: settings, control sockets,
DNS answers, files of the drop folder, command lines, the log."""

import asyncio
import atexit
import contextlib
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Final

import click
import dns.asyncresolver
import dns.exception
import dns.message
import dns.nameserver
import dns.resolver

from cmail.admin.entries import filter_of
from cmail.admin.queue import QueueAnswers
from cmail.admin.smtp_dialogue import DialogueError, _read
from cmail.app.config import FILE_OCTETS_MAX, decode, load_text, parse
from cmail.app.config_lines import find_lines
from cmail.app.config_shape import read_duration, read_size
from cmail.cli.exits import Refusal
from cmail.cli.place import _place
from cmail.cli.queue import _duration_ms
from cmail.cli.sendmail_options import parse_options
from cmail.delivery.lmtp import parse_lmtp
from cmail.link.clock import parse_reading
from cmail.link.kicks.reach import read_answer
from cmail.link.kicks.target import ANSWER_OCTETS_MAX, shown
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.mail.reply import Reply, ReplySyntaxError
from cmail.net import control, control_client
from cmail.net.dns_client import DnsClient, parse_server
from cmail.net.hosts_file import parse_hosts
from cmail.net.settings import DnsSettings
from cmail.observe import log_file, maillog
from cmail.observe.lines import JsonLines, PostfixLines
from cmail.observe.output import output
from cmail.observe.sink import Sink
from cmail.settings import SettingError, parse_endpoint
from cmail.smtpd.drop_file import ENVELOPE_OCTETS_MAX, DropFileError, parse_envelope, print_envelope
from cmail.smtpd.drop_read import read_drop
from cmail.storage.account_book import AccountBook, AccountError
from cmail.storage.spool import Spool
from cmail.storage.spool_sqlite import SqliteSpool
from cmail.web.hosts import is_own_host
from cmail.world import DnsError, NoSuchDomainError
from tests.fuzz.parser import Parser, Read, text
from tests.support.clock import FakeClock
from tests.support.memory_spool import MemorySpool

_SURELY_NOT: Final = "an error of ours; the log has its trace"  # how a control server owns up to a mistake
_FOLDER: Final = tempfile.mkdtemp(
    prefix="cmail-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None
)
_OWNER: Final = os.getpid()


@atexit.register
def _remove_folder() -> None:
    """By who made it; its children use it."""
    if os.getpid() == _OWNER:
        shutil.rmtree(_FOLDER, ignore_errors=True)


@cache
def _loop(pid: int) -> asyncio.AbstractEventLoop:
    """A process's own: a child that is forked must not wake its parent's."""
    return asyncio.new_event_loop()


def settings(octets: bytes) -> None:
    """A settings file of any kind: settings, or a SettingError whose lines print. A quick command, which
    reads it without checking it, gets along with what is TOML."""
    written = decode(octets)
    try:
        load_text(written, "/etc/cmail/cmail.toml", is_machine_checked=False)
    except SettingError as error:
        assert error.problems and all(problem.reason for problem in error.problems)
        assert all(0 <= problem.line <= written.count("\n") + 1 for problem in error.problems)
        if all(problem.key != "settings file" for problem in error.problems):
            place(written)
        raise
    place(written)


def place(written: str) -> None:
    """What cmail queue and sendmail take out of the file."""
    try:
        tables = tomllib.loads(written)
    except (ValueError, RecursionError):
        return
    try:
        found = _place("/etc/cmail/cmail.toml", tables)
    except Refusal:
        return
    assert found.data_dir.startswith("/") and found.message_size_max >= 0


_VALUES: Final = (
    "host.hostname", "host.domains", "host.workers", "listener.address", "relay.networks", "smtp.host",
    "smtp.port", "smtp.advanced.timeout", "smtp.advanced.max_message_size", "queue.lifetime", "queue.retry",
    "local.lmtp", "local.separator", "dns.servers", "admin.address", "limits.sessions", "log.format",
)  # fmt: skip


def setting_values(octets: bytes) -> None:
    """Any value in a setting: the octets stand there as text, and as they are."""
    key = _VALUES[sum(octets[:2]) % len(_VALUES)]
    table, _, name = key.rpartition(".")
    said = octets.decode("utf-8", "replace")
    head = f'[[{table}]]\nkind = "smtp"\n' if table == "listener" else f"[{table}]\n"
    for value in (json.dumps(said), f"[{json.dumps(said)}]", said, f"[{said}]"):
        with contextlib.suppress(SettingError):
            load_text(f"{head}{name} = {value}\n", "/x", is_machine_checked=False)


def lines_of_keys(octets: bytes) -> None:
    """Where the keys of a file stand: each line is one of the file."""
    written = decode(octets)
    parse(written, "")  # what is no TOML never comes so far
    last = written.count("\n") + 1
    assert all(1 <= line <= last for line in find_lines(written).values())


def endpoint(octets: bytes) -> None:
    """host:port printed is read as the same."""
    found = parse_endpoint(text(octets))
    assert parse_endpoint(str(found)) == found


def quantities(octets: bytes) -> None:
    """Sizes, durations and ports, in all places that read them."""
    said = text(octets)
    seconds, size = read_duration(said), read_size(said)
    assert seconds is None or seconds >= 0
    assert size is None or size >= 0
    place(f"[smtp.advanced]\nmax_message_size = {json.dumps(said)}")
    for read in (_duration_ms, parse_lmtp, parse_server):
        try:
            read(said)
        except (ValueError, click.UsageError):
            pass


def hosts(octets: bytes) -> None:
    """/etc/hosts."""
    assert all(addresses for addresses in parse_hosts(octets).values())


def link_reading(octets: bytes) -> None:
    """The state of the link, from its file or a control socket."""
    found = parse_reading(control.decode(octets))
    assert parse_reading(found.fields()) == found


def control_line(octets: bytes) -> None:
    """One line of a control socket, as it comes and goes."""
    found = control.decode(octets)
    assert b"\n" not in control.encode(found)[:-1]


def control_answer(octets: bytes) -> None:
    """What a command makes of what a server answers."""
    rows: list[Any] = []
    control_client.take(octets + b"\n", rows.append)


class _Writer:
    """What is written to a control socket."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, octets: bytes) -> None:
        self.written += octets

    async def drain(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


class _Link:
    """A link that is up."""

    is_down = False
    periods = 1

    def link_ms(self) -> int:
        return 0


class _Desk:
    """A shard with nothing in it."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool

    def change_times(self) -> dict[str, int]:
        return {"": 0}

    def changed(self, change: object, changed: object) -> None:
        pass

    def trouble(self, route: str) -> None:
        return None

    def under_way(self) -> dict[tuple[int, int], float]:
        return {}

    async def bounce(self, message: object, positions: object, reason: str) -> int:
        return 0


def questions(open_spool: Callable[[], Spool]) -> Read:
    """A connection to a control server on which anything is said: each line is answered, and no answer
    owns up to a mistake of ours."""
    desks: list[_Desk] = []
    answers = QueueAnswers(lambda: desks, FakeClock(), _Link(), bool, is_logged=False)  # type: ignore[arg-type,return-value]
    failures: list[str] = []
    server = control.ControlServer(answers.functions(), failures.append)

    async def converse(octets: bytes) -> bytes:
        reader, writer = asyncio.StreamReader(control.LINE_MAX), _Writer()
        reader.feed_data(octets)
        reader.feed_eof()
        await server.converse(reader, writer)  # type: ignore[arg-type]
        return writer.written

    def run(octets: bytes) -> None:
        if not desks:  # opened when it is first asked: threads do not live on in a child
            desks.append(_Desk(open_spool()))
        failures.clear()
        whole = octets.rpartition(b"\n")[0]
        lines = whole.split(b"\n") if b"\n" in octets else []
        # Names of questions are few: an input may say one by its number.
        named = b"".join(_named(line, answers.functions()) + b"\n" for line in lines)
        written = _loop(os.getpid()).run_until_complete(converse(named))
        assert not failures and _SURELY_NOT.encode() not in written
        told = [json.loads(line) for line in written.splitlines()]
        assert sum("ok" in one or "error" in one for one in told) == len(lines)

    return run


def _named(line: bytes, functions: dict[str, Callable[..., Awaitable[Any]]]) -> bytes:
    for number, name in enumerate(functions):
        line = line.replace(b"Q%d" % number, name.encode())
    return line


def queue_filter(octets: bytes) -> None:
    """The filter of a question."""
    filter_of(control.decode(octets))


class _Answering(dns.nameserver.Nameserver):
    """A DNS server whose answer is any octets; the question's number is put in front."""

    def __init__(self) -> None:
        super().__init__()
        self.octets = b""

    def __str__(self) -> str:
        return "answering"

    def kind(self) -> str:
        return "fake"

    def is_always_max_size(self) -> bool:
        return True

    def answer_nameserver(self) -> str:
        return "192.0.2.1"

    def answer_port(self) -> int:
        return 53

    async def async_query(self, request: dns.message.QueryMessage, *_: Any, **__: Any) -> dns.message.Message:
        wire = request.id.to_bytes(2, "big") + self.octets
        answer = dns.message.from_wire(wire)
        if not request.is_response(answer):
            raise dns.exception.FormError
        return answer


def dns_answers() -> Read:
    """Any octets as the answer to MX, A, AAAA and PTR: records, or a DnsError; names keep in their line."""
    server = _Answering()
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.retry_servfail, resolver.cache = [server], False, None

    async def ask(octets: bytes) -> None:
        client = DnsClient(DnsSettings(), hosts_path="/dev/null")
        client._resolver, server.octets = resolver, octets
        try:
            for record in await client.mx("example.org"):
                assert record.exchange.isprintable()
        except (DnsError, NoSuchDomainError):
            pass
        try:
            await client.addresses("example.org")
        except (DnsError, NoSuchDomainError):
            pass
        assert not set(await client.ptr(parse_hosts(b"192.0.2.1 a")["a"][0])) & set("\r\n\0")

    def run(octets: bytes) -> None:
        _loop(os.getpid()).run_until_complete(ask(octets))

    return run


def kicked(octets: bytes) -> None:
    """What a finger server says, on one line that prints."""

    async def ask() -> bytes:
        reader = asyncio.StreamReader()
        reader.feed_data(octets)
        reader.feed_eof()
        return await read_answer(reader)

    words = shown(_loop(os.getpid()).run_until_complete(ask()))
    assert words.isprintable() and len(words) < 400


def drop_envelope(octets: bytes) -> None:
    """The first line of a file in the drop folder: printed again it is the same."""
    found = parse_envelope(octets)
    assert parse_envelope(print_envelope(found)) == found
    assert found.envid.isprintable() and all(r.orcpt.isprintable() for r in found.recipients)


def drop_file(octets: bytes) -> None:
    """A whole file of the drop folder."""
    path = os.path.join(_FOLDER, f"drop-{os.getpid()}")
    with open(path, "wb") as file:
        file.write(octets)
    found = read_drop(path, path + ".content", 2**20)
    wire = found.content.octets
    if found.content.path:
        with open(found.content.path, "rb") as file:
            wire = file.read()
    assert wire.endswith(b"\r\n") and wire.count(b"\n") == wire.count(b"\r") == wire.count(b"\r\n")


def command_line(octets: bytes) -> None:
    """sendmail's, its words parted by a line end."""
    found = parse_options([text(word).replace("\0", "") for word in octets.split(b"\n")])
    assert len(found.mode) <= 1


def smtp_dialogue(octets: bytes) -> None:
    """What cmail send-test reads."""
    import io

    found: Reply = _read(io.BytesIO(octets))
    assert str(found).isprintable()


def web_host(octets: bytes) -> None:
    """The Host field of a browser."""
    is_own_host(octets.decode("latin-1"), frozenset({"mail.example.org"}))


def account_names() -> Read:
    """Names of users and aliases, as they are typed: an address of ours in lower case, or words."""
    folder = tempfile.mkdtemp(prefix="book-", dir=_FOLDER)
    book = AccountBook(folder, domains=("example.org",), hostname="mail.example.org")

    def run(octets: bytes) -> None:
        name = text(octets)
        target = book._target(name)
        assert book._target(target) == target
        alias = book._alias_name(name)
        assert alias.endswith("@example.org") and book._alias_name(alias) == alias
        book.delete_alias(name)

    return run


def log_lines(octets: bytes) -> None:
    """Whatever peers say: a line of the log is one line, and prints."""
    said = text(octets)
    for form in (PostfixLines, JsonLines):
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        before = output.sink, output.lines
        output.sink, output.lines = Sink(write_end), form("mail", "worker-0")
        try:
            failure = TemporaryFailure(said, NotNow.HOST, relay=said)
            maillog.connected("smtpd", maillog.client_text(said, said))
            maillog.refused(
                "smtpd", said, stage=said, reply=Reply(550, None, said), forward_path=said, helo=said
            )
            maillog.login_failed("smtpd", said, mechanism=said, username=said)
            maillog.attempted(1, said, outcome=failure, delay_s=0, original_to=said)
            maillog.warned(said)
            written = b""
            for _ in range(len(octets) // 1000 + 2):
                log_file.flush()
                try:
                    written += os.read(read_end, 10**7)
                except BlockingIOError:
                    break
        finally:
            output.sink, output.lines = before
            os.close(read_end)
            os.close(write_end)
        lines = written.decode().split("\n")
        assert lines.pop() == "" and len(lines) == 5
        assert all(line.isprintable() for line in lines)


_TOML: Final = b"""
[host]
hostname = "mail.example.org"
domains = ["example.org"] # ours
workers = 2
[[listener]]
kind = "smtp"
address = "127.0.0.1:2525"
[relay]
networks = ["127.0.0.0/8", "::1/128"]
[smtp.advanced]
timeout = "45s"
max_message_size = "10MiB"
[queue]
retry = ["5m", '10m']
"""
_ENVELOPE: Final = (
    b'{"cmail_drop":1,"from":"a@b.c","to":[{"address":"d@e.f","notify":2,"orcpt":""}],"ret":"FULL",'
    b'"envid":"x","smtputf8":false,"body8bit":true}'
)


def _answer(question: str, kind: str, *records: str) -> bytes:
    """The wire of an answer, without its number."""
    message = dns.message.make_response(dns.message.make_query(question, kind), recursion_available=True)
    message.answer = [dns.rrset.from_text(question, 300, "IN", kind, *records)] if records else []
    return message.to_wire()[2:]


_QUESTIONS: Final = (
    b'{"ask":"Q0","filter":{},"limit":10,"after":[0,-1]}\n{"ask":"Q1","id":"0123456789ABC"}\n',
    b'{"ask":"Q2","change":"hold","filter":{"ids":["0123456789ABC"],"to":"a","states":["queued"]}}\n',
    b'{"ask":"Q3","filter":{"older_than_ms":1}}\n{"ask":"Q4","filter":{},"reason_given":"x"}\n{"ask":"Q5"}\n',
)
_MX: Final = _answer("example.org.", "MX", "10 mx.example.org.", "20 b\\013\\010.example.org.")
_YXDOMAIN: Final = _MX[:1] + b"\x86" + _MX[2:]  # a code that means nothing to us
_SMALL: Final = 4096  # octets of a value that is counted; the longest is bounded by the file
_LINE_MAX: Final = control.LINE_MAX

HOUSE: Final[dict[str, Parser]] = {
    "settings": Parser(
        settings,
        (SettingError,),
        (_TOML, b""),
        FILE_OCTETS_MAX,
        (
            (b"", b""),
            (b'[host]\ndomains = ["', b'"]'),
            (b"[host]\ndomains = [", b"]"),
            (b"[", b"]"),
            (b"x = ", b""),
        ),
        (
            b'"a.b",',
            b"[x]\n",
            b"[[listener]]\n",
            b"a.b.",
            b'"a"=1\n',
            b"[[",
            b'"""',
            b"'''",
            b"1_",
            b"\n[a.",
            b"x=1\n",
        ),
    ),
    "settings, values": Parser(
        setting_values,
        (),
        (b"mail.example.org", b"10MiB", b'"1h"', b"1", b"true", b"1979-05-27", b"nan", b"[::1]:25"),
        _SMALL,
        (),  # each takes milliseconds, and "settings" counts the same
    ),
    "settings, lines": Parser(
        lines_of_keys,
        (SettingError, ValueError, RecursionError),
        (_TOML,),
        FILE_OCTETS_MAX,
        fragments=(b"a=1\n", b"[a]\n", b'a="', b"[[a]]\n"),
    ),
    "host:port": Parser(
        endpoint, (ValueError,), (b"127.0.0.1:25", b"[::1]:25", b"unix:/run/x"), FILE_OCTETS_MAX
    ),
    "sizes and durations": Parser(
        quantities,
        (),
        (b"50MiB", b"1.5h", b"2d", b"[::1]:5353"),
        FILE_OCTETS_MAX,
        ((b"", b""), (b"1", b"MiB"), (b"", b"h"), (b"1.", b"d")),
    ),
    "hosts file": Parser(
        hosts,
        (),
        (b"127.0.0.1 localhost a # b\n::1 localhost\n",),
        10**6,
        ((b"", b""), (b"::1 ", b"")),
        (b"::1 a\n", b"a "),
    ),
    "link reading": Parser(
        link_reading,
        (ValueError, control.ControlError),
        (b'{"is_down":false,"down_ms":0,"periods":1,"changed_wall_ms":0}',),
        _LINE_MAX,
    ),
    "control line": Parser(
        control_line,
        (control.ControlError,),
        (b'{"ask":"status"}', b'{"a":[1,{}]}'),
        _LINE_MAX,
        ((b'{"a":', b"}"),),
    ),
    "control answer": Parser(
        control_answer, (control.ControlError,), (b'{"row":{"a":1}}', b'{"ok":{}}'), _LINE_MAX
    ),
    "control questions": Parser(
        questions(lambda: MemorySpool(0, FakeClock())),
        (),
        _QUESTIONS,
        _LINE_MAX,
        (
            (b"", b"\n"),
            (b'{"ask":"Q0","filter":{"ids":[', b'"0123456789ABC"]}}\n'),
            (b'{"ask":"Q0","filter":', b"}\n"),
        ),
        (b'"0123456789ABC",', b"{}\n"),
    ),
    "questions to the real spool": Parser(
        questions(lambda: SqliteSpool.open(os.path.join(_FOLDER, "spool"), 0, FakeClock())),
        (),
        _QUESTIONS,
        4096,
        (),
    ),
    "queue filter": Parser(
        queue_filter,
        (control.ControlError, ValueError, KeyError),
        (b'{"ids":["0123456789ABC"],"states":["held"]}',),
        _LINE_MAX,
    ),
    "DNS answers": Parser(
        dns_answers(),
        (),
        (_MX, _answer("example.org.", "A", "192.0.2.1"), _YXDOMAIN, _MX[:1] + b"\x83" + _MX[2:], b""),
        65535,
        ((b"", b""), (_MX[:4] + b"\0\1\xff\xff\0\0\0\0" + _MX[10:], b"")),
        (b"\xc0\x0c\0\x0f\0\1\0\0\0\0\0\4\0\1\xc0\x0c", b"\xc0\x0c", b"\1a"),
    ),
    "kick's answer": Parser(
        kicked, (), (b"Mail for example.org will be sent\r\n", b"\r\n\0\x1b[2J"), ANSWER_OCTETS_MAX
    ),
    "drop file's envelope": Parser(
        drop_envelope,
        (DropFileError,),
        (_ENVELOPE,),
        ENVELOPE_OCTETS_MAX,
        ((b"", b""), (_ENVELOPE[:40], _ENVELOPE[40:]), (b'{"cmail_drop":1,"from":"","to":[', _ENVELOPE[32:])),
        (b'{"address":"d@e.f","notify":2,"orcpt":""},',),
    ),
    "drop file": Parser(
        drop_file,
        (DropFileError,),
        (_ENVELOPE + b"\nFrom: a\n\nb\r\nc\r",),
        2**20,
        ((_ENVELOPE + b"\n", b"\n"),),
        (b"Received: x\n",),
    ),
    "sendmail's command line": Parser(
        command_line,
        (Refusal,),
        (b"-t\n-i\n-f\na@b\n-Nsuccess,delay\n-oi\n--\nx", b"-bs"),
        131072,
        ((b"", b""), (b"-N", b"")),
        (b"\n-", b"-t\n", b"success,", b"x\n"),
    ),
    "send-test's dialogue": Parser(
        smtp_dialogue,
        (DialogueError, ReplySyntaxError),
        (b"250-a\r\n250 b\r\n",),
        65536,
        fragments=(b"250-a\r\n",),
    ),
    "Host of a browser": Parser(web_host, (), (b"mail.example.org:8025", b"[::1]"), 65536),
    "names of accounts": Parser(
        account_names(), (AccountError,), (), 131072, ((b"", b""), (b"", b"@example.org"))
    ),
    "log lines": Parser(log_lines, (), (b"250 ok", b"a\r\nb\0\x1b"), 4096),
}
