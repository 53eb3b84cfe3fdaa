"""The probe and the doubt before it: what counts as an answer, and when silence is down."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from cmail.link import probe as probe_module
from cmail.link.doubt import FAILURES, Doubt
from cmail.link.probe import NAMES, Seen, Target, probe, target_of
from tests.support.fake_dns import SERVFAIL, FakeResolver


def seen(target: Target, resolver: FakeResolver | None = None, **more: object) -> Seen:
    return asyncio.run(probe(target, resolver or FakeResolver(), **{"known": (), **more}))  # type: ignore[arg-type]


async def serve(function: Callable[[int], Awaitable[None]], **tls: object) -> None:
    """A server that says a greeting, and a function that is given its port."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        try:
            while line := await reader.readline():
                writer.write(b"250 STARTTLS\r\n" if line.startswith(b"EHLO") else b"502 no\r\n")
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, **tls)  # type: ignore[arg-type]
    async with server:
        await function(server.sockets[0].getsockname()[1])


def test_who_answers_is_there() -> None:
    """A connection that opens; one that is refused is an answer too."""

    async def ask(port: int) -> None:
        found.append(await probe(Target("127.0.0.1", port), FakeResolver(), ()))

    found: list[Seen] = []
    asyncio.run(serve(ask))
    assert found[0].is_answered and str(found[0].address) == "127.0.0.1"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert seen(Target("127.0.0.1", closed.getsockname()[1])).is_answered


def test_silence_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes the connection; the DNS says nothing, and where it was is not known."""
    monkeypatch.setattr(probe_module, "CONNECT_S", 0.1)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        found = seen(Target("127.0.0.1", full.getsockname()[1]))
        for filler in fillers:
            filler.close()
    assert found.is_failure and "no answer" in found.words
    found = seen(Target("smtp.isp.example", 25), FakeResolver(hosts={"smtp.isp.example": SERVFAIL}))
    assert found.is_failure and "DNS" in found.words


@pytest.mark.parametrize("silent", [1, 2])
def test_an_address_that_is_silent_holds_up_no_other(monkeypatch: pytest.MonkeyPatch, silent: int) -> None:
    """Of both families one is dead, or the first host of several: the next one that answers is enough, and is not
    tried only when the time of the silent one is over."""
    monkeypatch.setattr(probe_module, "NEXT_S", 0.01)
    tried: list[str] = []

    async def connect(address: object, port: int, device: str) -> str:
        tried.append(str(address))
        if len(tried) <= silent:
            await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(probe_module, "_connect", connect)
    hosts = ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
    resolver = FakeResolver(hosts={"smtp.isp.example": hosts})

    async def ask() -> Seen:
        return await asyncio.wait_for(probe(Target("smtp.isp.example", 25), resolver, ()), 20)

    found = asyncio.run(ask())
    assert found.is_answered and str(found.address) == hosts[silent]


def test_a_name_that_does_not_exist_says_nothing_of_the_link() -> None:
    """The DNS answered, so something is there; but nothing could be tried."""
    found = seen(Target("nowhere.example", 25))
    assert not (found.is_answered or found.is_failure or found.is_portal)


def test_where_it_was_before_is_tried_when_the_dns_is_silent_or_denies_it() -> None:
    """An address that is known is enough."""
    from ipaddress import ip_address

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        target = Target("smtp.isp.example", closed.getsockname()[1])
        for resolver in (FakeResolver(hosts={"smtp.isp.example": SERVFAIL}), FakeResolver()):
            assert seen(target, resolver, known=(ip_address("127.0.0.1"),)).is_answered


def test_a_name_that_existed_and_a_host_that_is_silent_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The DNS of a router that has lost the Internet says that no name exists: where the upstream server was
    before nobody answers, and that is what counts."""
    from ipaddress import ip_address

    async def nobody(*_: object) -> str:
        return "no answer within 5 s"

    monkeypatch.setattr(probe_module, "_connect", nobody)
    found = seen(Target("smtp.isp.example", 25), known=(ip_address("192.0.2.1"),))
    assert found.is_failure and "no answer" in found.words


class Everything(FakeResolver):
    """A resolver behind a log-in page: all names lead to it."""

    async def addresses(self, host: str):  # type: ignore[no-untyped-def]
        return await super().addresses("127.0.0.1")


class Fixed(FakeResolver):
    """A resolver behind a log-in page: whatever is asked for is there."""

    async def addresses(self, host: str):  # type: ignore[no-untyped-def]
        return await super().addresses("192.0.2.1")


@pytest.mark.parametrize(
    ("resolver", "is_answered", "is_portal"),
    [
        (Fixed(), False, True),
        (FakeResolver(hosts={"a.root-servers.net": ["198.41.0.4"]}), True, False),
        (FakeResolver(), True, False),
        (FakeResolver(hosts={"a.root-servers.net": SERVFAIL}), False, False),
    ],
    ids=["a log-in page", "the Internet", "a DNS of its own", "a DNS that says nothing"],
)
def test_names_alone_show_a_log_in_page(resolver: FakeResolver, is_answered: bool, is_portal: bool) -> None:
    """With delivery by MX no host is ours to be probed: mail must not go to a page that has all names."""
    found = seen(NAMES, resolver)
    assert (found.is_answered, found.is_portal, found.is_failure) == (is_answered, is_portal, False)
    assert ("log-in page" in found.words) is is_portal


def test_an_address_that_has_taken_mail_is_no_log_in_page() -> None:
    """In a lab every name may lead to one host. It has taken mail, so it is where mail goes; no page has."""
    from ipaddress import ip_address

    trusted = (ip_address("192.0.2.1"),)
    assert seen(replace(NAMES, trusted=trusted), Fixed()).is_answered

    async def ask(port: int) -> None:
        found.append(await probe(replace(Target("smtp.isp.example", port), trusted=here), Everything(), ()))

    found, here = list[Seen](), (ip_address("127.0.0.1"),)
    asyncio.run(serve(ask))
    assert found[0].is_answered


@pytest.mark.parametrize("is_there", [True, False])
def test_a_fallback_that_is_away_says_nothing_of_the_line(
    is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By MX: where mail went last somebody answers, or nobody does."""
    from ipaddress import ip_address

    async def connect(address: object, *_: object) -> str:
        return "" if is_there and str(address) == "192.0.2.1" else "no answer within 5 s"

    monkeypatch.setattr(probe_module, "_connect", connect)
    target = Target("192.0.2.99", 25, hosts=((ip_address("192.0.2.1"), 25),))
    found = seen(target)
    assert found.is_answered is is_there and found.is_failure is not is_there
    assert is_there or found.words == "192.0.2.99:25: no answer within 5 s"


@pytest.mark.parametrize("is_caught", [True, False])
def test_a_page_that_answers_for_every_name(is_caught: bool) -> None:
    """Made-up names have the address of the upstream server too: a log-in page. Where they do not exist
    all is well, and so it is where they lead elsewhere (a provider that sells what nobody typed)."""

    async def ask(port: int) -> None:
        names = Everything() if is_caught else FakeResolver(hosts={"smtp.isp.example": ["127.0.0.1"]})
        found.append(await probe(Target("smtp.isp.example", port), names, ()))

    found: list[Seen] = []
    asyncio.run(serve(ask))
    assert found[0].is_portal is is_caught and found[0].is_answered is not is_caught
    if is_caught:
        assert found[0].words.startswith("a log-in page stands in between: every name has the same address")


@pytest.mark.parametrize(
    ("name", "is_known", "caught"),
    [
        ("smtp.isp.example", True, ""),
        ("portal.hotel.example", True, "portal.hotel.example"),
        ("portal.hotel.example", False, "portal.hotel.example"),
        ("smtp.isp.example", False, ""),
    ],
)
def test_a_certificate_for_somebody_else(tmp_path: Path, name: str, is_known: bool, caught: str) -> None:
    """With TLS that must be right: whoever shows another name stands in between, whether his authority is
    known or not. A right name of an unknown authority is the upstream server's own trouble."""
    ca, other = trustme.CA(), trustme.CA()
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    (ca if is_known else other).cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def ask(port: int) -> None:
        target = Target("smtp.isp.example", port, "implicit", str(tmp_path / "ca.pem"))
        names = FakeResolver(hosts={"smtp.isp.example": ["127.0.0.1"]})
        found.append(await probe(target, names, ()))

    found: list[Seen] = []
    asyncio.run(serve(ask, ssl=context))
    assert found[0].is_portal is bool(caught)
    assert caught in found[0].words


def test_a_server_without_tls_is_no_page() -> None:
    """It says no to STARTTLS: a server's trouble, and the Internet is there."""

    async def ask(port: int) -> None:
        names = FakeResolver(hosts={"smtp.isp.example": ["127.0.0.1"]})
        found.append(await probe(Target("smtp.isp.example", port, "required"), names, ()))

    found: list[Seen] = []
    asyncio.run(serve(ask))
    assert found[0].is_answered


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        (("off", "smtp.isp.example", 25, "none"), None),
        (("", "", 25, "none"), None),
        (("", "smtp.isp.example", 587, "required"), Target("smtp.isp.example", 587, "required", "/ca")),
        (("", "smtp.isp.example", 25, "opportunistic"), Target("smtp.isp.example", 25)),
        (("192.0.2.1:443", "smtp.isp.example", 25, "required"), Target("192.0.2.1", 443)),
    ],
)
def test_what_is_probed(settings: tuple[str, str, int, str], target: Target | None) -> None:
    """The upstream server, unless the settings say elsewhere or nowhere."""
    assert target_of(*settings, "/ca") == target


# Doubt.


def test_three_in_a_row_are_down_and_one_answer_is_up() -> None:
    """The first ones follow each other quickly, later ones in their time."""
    doubt = Doubt()
    doubt.begin()
    for _ in range(FAILURES):
        assert doubt.verdict is None and doubt.wait_s(60.0) == 2.0
        doubt.failed("no answer")
    assert doubt.verdict is not None and doubt.verdict.is_down and doubt.wait_s(60.0) == 60.0
    doubt.answered()
    assert doubt.verdict is None and not doubt.is_open


@pytest.mark.parametrize(
    ("kinds", "is_open"),
    [
        (["offline"], True),
        (["silent"], True),
        (["timeout"], False),
        (["timeout", "timeout"], True),
        (["timeout", "ok", "timeout"], False),
        (["offline", "ok"], False),
        (["nonsense"], False),
    ],
)
def test_what_deliveries_see(kinds: list[str], is_open: bool) -> None:
    """No way, silence of the upstream server, or two silences in a row make one look; success ends it."""
    doubt = Doubt()
    for kind in kinds:
        doubt.seen(is_ok=kind == "ok", kind=kind)
    assert doubt.is_open is is_open


def test_a_delivery_proves_more_than_probes() -> None:
    """Down by silence, and yet something was delivered: up at once, and three more are needed."""
    doubt = Doubt()
    for _ in range(FAILURES):
        doubt.failed("no answer")
    doubt.seen(is_ok=True, kind="ok")
    assert doubt.verdict is None
    doubt.failed("no answer")
    assert doubt.verdict is None


ROOT = "a.root-servers.net"
MX = {"known.example": [(10, "mx.known.example")]}


@pytest.mark.parametrize(
    ("resolver", "is_there", "dns", "is_answered", "is_failure"),
    [
        (FakeResolver(mx_table=MX), True, "good", True, False),
        (FakeResolver(hosts={ROOT: ["198.41.0.4"]}), False, "good", True, False),
        (FakeResolver(), True, "bad", True, False),
        (FakeResolver(), False, "bad", False, True),
        (
            FakeResolver(mx_table={"known.example": SERVFAIL}, hosts={ROOT: SERVFAIL}),
            True,
            "bad",
            True,
            False,
        ),
        (
            FakeResolver(mx_table={"known.example": SERVFAIL}, hosts={ROOT: SERVFAIL}),
            False,
            "bad",
            False,
            True,
        ),
    ],
)
def test_names_and_hosts_that_mail_went_to(
    resolver: FakeResolver,
    is_there: bool,
    dns: str,
    is_answered: bool,
    is_failure: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One name that is known is enough; none, and the hosts say whether it is the DNS or the line."""
    from ipaddress import ip_address

    async def connect(*_: object) -> str:
        return "" if is_there else "no answer within 5 s"

    monkeypatch.setattr(probe_module, "_connect", connect)
    target = replace(NAMES, names=("gone.example", "known.example"), hosts=((ip_address("192.0.2.1"), 25),))
    found = seen(target, resolver)
    assert (found.dns, found.is_answered, found.is_failure) == (dns, is_answered, is_failure)


def test_who_never_sent_anything_knows_nothing() -> None:
    """A DNS that denies what everybody knows is strange, and no more can be said."""
    assert seen(NAMES).dns == "strange"
    assert not seen(NAMES, FakeResolver(hosts={ROOT: SERVFAIL})).is_failure
