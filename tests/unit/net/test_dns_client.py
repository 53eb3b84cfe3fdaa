"""DnsClient against a DNS server on loopback: answers, none, troubles, and what is kept of them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.message
import dns.name
import pytest

from cmail.net.dns_client import DnsClient, Word, _is_of_its_own, parse_server
from cmail.net.hosts_file import parse_hosts
from cmail.net.settings import DnsSettings
from cmail.world import DnsError, MxRecord, NoSuchDomainError
from tests.support.clock import FakeClock
from tests.support.fake_dns import HANG, NXDOMAIN, SERVFAIL, FakeDnsServer

RECORDS: dict[tuple[str, str], list[str] | str] = {
    ("example.org", "MX"): ["10 MX1.example.org.", "20 mx2.example.org."],
    ("mx1.example.org", "A"): ["192.0.2.1"],
    ("mx1.example.org", "AAAA"): ["2001:db8::1"],
    ("null.example", "MX"): ["0 ."],
    ("half.example", "A"): ["192.0.2.2"],
    ("half.example", "AAAA"): SERVFAIL,
    ("broken.example", "A"): SERVFAIL,
    ("broken.example", "AAAA"): SERVFAIL,
    ("broken.example", "MX"): SERVFAIL,
    ("gone.example", "MX"): NXDOMAIN,
    ("silent.example", "MX"): HANG,
    ("xn--mnchen-3ya.example", "MX"): ["5 mx1.example.org."],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["MX1.example.org."],
}


def ask(
    question: "Callable[[DnsClient, FakeDnsServer, FakeClock], Awaitable[object]]", is_truncated: bool = False
) -> object:
    async def main() -> object:
        clock = FakeClock()
        async with FakeDnsServer(dict(RECORDS), is_truncated=is_truncated) as server:
            settings = DnsSettings(servers=(server.address,))
            client = DnsClient(settings, clock.monotonic, lifetime_s=0.3, try_s=0.2, hosts_path="/dev/null")
            return await question(client, server, clock)

    return asyncio.run(main())


@pytest.mark.parametrize("is_truncated", [False, True], ids=["UDP", "TCP after truncation"])
def test_answers_are_read(is_truncated: bool) -> None:
    """MX in lower case without the final dot, IPv4 before IPv6, a null MX as an empty exchange."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        assert sorted(await client.mx("example.org"), key=str) == [
            MxRecord(10, "mx1.example.org"),
            MxRecord(20, "mx2.example.org"),
        ]
        assert [str(a) for a in await client.addresses("mx1.example.org")] == ["192.0.2.1", "2001:db8::1"]
        assert list(await client.mx("null.example")) == [MxRecord(0, "")]
        assert list(await client.mx("mx1.example.org")) == []
        assert list(await client.mx("münchen.example")) == [MxRecord(5, "mx1.example.org")]
        [address] = await client.addresses("half.example")
        assert str(address) == "192.0.2.2", "half an answer is enough"
        assert await client.ptr((await client.addresses("192.0.2.1"))[0]) == "mx1.example.org"
        assert await client.ptr(address) == ""

    ask(question, is_truncated=is_truncated)


@pytest.mark.parametrize(
    ("name", "error", "is_unreachable"),
    [
        ("gone.example", NoSuchDomainError, None),
        ("unknown.example", NoSuchDomainError, None),
        ("broken.example", DnsError, False),
        ("silent.example", DnsError, True),
        ("a..b", NoSuchDomainError, None),
        ("x" * 64 + ".example", NoSuchDomainError, None),
        ("\u2028.example", NoSuchDomainError, None),
    ],
)
def test_troubles_have_their_kind(name: str, error: type[Exception], is_unreachable: bool | None) -> None:
    """SERVFAIL and silence are temporary and end in time; a name that does not exist is another thing."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        with pytest.raises(error) as caught:
            await client.mx(name)
        if is_unreachable is not None:
            assert isinstance(caught.value, DnsError)
            assert caught.value.is_unreachable is is_unreachable

    ask(question)


def test_one_silent_name_is_not_an_outage() -> None:
    """When the server has just answered another question, the silence is that domain's own."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        await client.mx("example.org")
        with pytest.raises(DnsError) as caught:
            await client.mx("silent.example")
        assert not caught.value.is_unreachable

    ask(question)


def test_nobody_at_the_server_s_port_is_unreachable() -> None:
    """A refused port means that no resolver can be asked at all."""

    async def main() -> None:
        client = DnsClient(DnsSettings(servers=("127.0.0.1:1",)), lifetime_s=0.3, try_s=0.2)
        with pytest.raises(DnsError) as caught:
            await client.mx("example.org")
        assert caught.value.is_unreachable

    asyncio.run(main())


def test_answers_are_kept_as_long_as_their_ttl() -> None:
    """One question for many connections; NXDOMAIN is kept a minute, SERVFAIL not at all."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        for _ in range(3):
            await client.mx("example.org")
            with pytest.raises(NoSuchDomainError):
                await client.mx("gone.example")
        assert sorted(server.asked) == ["MX example.org", "MX gone.example"]
        clock.advance(61)
        with pytest.raises(NoSuchDomainError):
            await client.mx("gone.example")
        await client.mx("example.org")
        assert server.asked.count("MX gone.example") == 2 and server.asked.count("MX example.org") == 1
        clock.advance(301)
        await client.mx("example.org")
        assert server.asked.count("MX example.org") == 2
        client.forget()
        await client.mx("example.org")
        assert server.asked.count("MX example.org") == 3
        count = len(server.asked)
        for _ in range(2):
            with pytest.raises(DnsError):
                await client.mx("broken.example")
        assert len(server.asked) >= count + 2

    ask(question)


SECOND_DAY = 3600 + 86400


@pytest.mark.parametrize("trouble", [HANG, SERVFAIL])
@pytest.mark.parametrize(
    ("late_s", "is_used"), [(400.0, True), (SECOND_DAY - 3400.0, True), (SECOND_DAY + 400.0, False)]
)
def test_old_answer_finds_the_host_when_nobody_answers(trouble: str, late_s: float, is_used: bool) -> None:
    """After an outage mail goes to where it went before, for a day; not only once the DNS is back."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        before = await client.mx("example.org"), await client.addresses("mx1.example.org")
        for key in (("example.org", "MX"), ("mx1.example.org", "A"), ("mx1.example.org", "AAAA")):
            server.records[key] = trouble
        clock.advance(late_s)
        client.forget_failures()
        if is_used:
            assert (await client.mx("example.org"), await client.addresses("mx1.example.org")) == before
        else:
            with pytest.raises(DnsError):
                await client.mx("example.org")

    ask(question)


@pytest.mark.parametrize("late_s", [0.0, 400.0])
def test_that_a_host_has_no_ipv6_is_not_asked_again_at_link_up(late_s: float) -> None:
    """One that is named in the settings is found at once, though nobody answers; that a name has nothing at
    all may have been a lie, and is asked anew."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        server.records[("smtp.isp.example", "A")] = ["192.0.2.25"]
        server.records[("v.example", "TXT")] = ['"x"']
        client.ours = frozenset(("smtp.isp.example",))
        found = await client.addresses("smtp.isp.example")
        assert [str(each) for each in found] == ["192.0.2.25"]
        assert await client.addresses("v.example") == []
        clock.advance(late_s)
        client.forget_failures()
        server.records[("smtp.isp.example", "A")] = server.records[("smtp.isp.example", "AAAA")] = HANG
        async with asyncio.timeout(1):
            assert await client.addresses("smtp.isp.example") == found
        server.records[("v.example", "A")] = ["192.0.2.1"]
        assert await client.addresses("v.example") != []

    ask(question)


def test_old_answer_gives_way_to_a_new_one() -> None:
    """Who answers is believed, also when that is another host or none; what judges is never old."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        await client.mx("example.org")
        await client.addresses("mx1.example.org")
        server.records[("v.example", "TXT")] = ['"v=spf1 -all"']
        await client.txt("v.example")
        clock.advance(400)
        server.records[("example.org", "MX")] = ["10 new.example.org."]
        server.records[("mx1.example.org", "A")] = server.records[("mx1.example.org", "AAAA")] = NXDOMAIN
        server.records[("v.example", "TXT")] = SERVFAIL
        assert list(await client.mx("example.org")) == [MxRecord(10, "new.example.org")]
        with pytest.raises(NoSuchDomainError):
            await client.addresses("mx1.example.org")
        with pytest.raises(DnsError):
            await client.txt("v.example")

    ask(question)


def test_host_of_the_settings_is_not_waited_for() -> None:
    """The upstream server is connected to at once; what the DNS says now holds from the next time on."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        client.ours = frozenset(("mx1.example.org",))
        before = await client.addresses("mx1.example.org")
        clock.advance(400)
        server.records[("mx1.example.org", "A")] = ["192.0.2.99"]
        count = len(server.asked)
        assert await client.addresses("mx1.example.org") == before and len(server.asked) == count
        await asyncio.wait(client._asking.values())
        assert str((await client.addresses("mx1.example.org"))[0]) == "192.0.2.99"

    ask(question)


def test_names_and_numbers_that_need_no_server(tmp_path: Path) -> None:
    """Numeric hosts, localhost and /etc/hosts are answered with no server in reach."""
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.7 Printer.lan printer # ours\nnonsense here\n2001:db8::7 printer\n")

    async def main() -> None:
        client = DnsClient(DnsSettings(servers=("127.0.0.1:1",)), hosts_path=str(hosts))
        for name, expected in (
            ("192.0.2.9", ["192.0.2.9"]),
            ("2001:db8::9", ["2001:db8::9"]),
            ("localhost", ["127.0.0.1", "::1"]),
            ("printer.LAN.", ["192.0.2.7"]),
            ("printer", ["192.0.2.7", "2001:db8::7"]),
        ):
            assert [str(address) for address in await client.addresses(name)] == expected, name

    asyncio.run(main())
    assert parse_hosts(b"\xff\xfe\n1.2.3 x\n") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("[::1]", ("::1", 53)),
    ],
)
def test_servers_are_written_as_people_do(text: str, expected: tuple[str, int]) -> None:
    """Address, or address and port, of both families."""
    assert parse_server(text) == expected


@pytest.mark.parametrize(
    "text", ["", "dns.example.org", "127.0.0.1:0", "127.0.0.1:x", "[::1]:99999", "1.2.3.4:"]
)
def test_what_is_no_server_is_refused(text: str) -> None:
    """ValueError, so that settings can say it at once."""
    with pytest.raises(ValueError):
        parse_server(text)


def test_a_host_of_the_settings_that_is_denied() -> None:
    """It keeps the addresses that it had, for a day, and is asked for again within seconds; others are
    believed to be gone. Never known, it is denied for seconds, not a minute."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        client.ours = frozenset(("mx1.example.org", "new.example"))
        server.records["mx2.example.org", "A"] = ["192.0.2.3"]
        both = ("mx1.example.org", "mx2.example.org")
        for host in both:
            await client.addresses(host)
        kept = dict(server.records)
        server.records = {}
        clock.advance(301)
        for _ in range(4):  # an old answer, and it is asked behind it
            assert [str(a) for a in await client.addresses(both[0])] == ["192.0.2.1", "2001:db8::1"]
            await asyncio.gather(*client._asking.values())
            clock.advance(6)
        with pytest.raises(NoSuchDomainError):
            await client.addresses(both[1])
        with pytest.raises(NoSuchDomainError):
            await client.addresses("new.example")
        server.records = {
            **kept,
            ("mx1.example.org", "A"): ["192.0.2.9"],
            ("new.example", "A"): ["192.0.2.8"],
        }
        clock.advance(6)
        assert [str(a) for a in await client.addresses("new.example")] == ["192.0.2.8"]
        await client.addresses(both[0])
        await asyncio.gather(*client._asking.values())
        assert str((await client.addresses(both[0]))[0]) == "192.0.2.9"
        server.records = {}
        clock.advance(50 * 3600)
        with pytest.raises(NoSuchDomainError):
            await client.addresses(both[0])

    ask(question)


@pytest.mark.parametrize("trouble", [NXDOMAIN, SERVFAIL])
def test_a_host_that_others_have_found(trouble: str) -> None:
    """What they told is used when the DNS denies it or fails, not before, and forgotten behind a log-in page."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        client.told("new.example", ["192.0.2.77", "2001:db8::77"])
        server.records |= {("new.example", kind): trouble for kind in ("A", "AAAA")}
        server.records |= {("fresh.example", "A"): ["192.0.2.8"]}
        assert [str(a) for a in await client.addresses("new.example")] == ["192.0.2.77", "2001:db8::77"]
        client.told("fresh.example", ["192.0.2.77"])
        assert [str(a) for a in await client.addresses("fresh.example")] == ["192.0.2.8"]
        client.told("new.example", ["192.0.2.77"])
        client.forget()
        with pytest.raises((DnsError, NoSuchDomainError)):
            await client.addresses("new.example")

    ask(question)


@pytest.mark.parametrize(
    ("domain", "word"),
    [
        ("example.org", Word.THERE),
        ("half.example", Word.THERE),
        ("gone.example", Word.DENIED),
        ("nowhere.example", Word.DENIED_BY_ITS_OWN),
        ("broken.example", Word.NO_ANSWER),
        ("silent.example", Word.NO_ANSWER),
        ("bad..name", Word.NO_ANSWER),
    ],
)
def test_what_is_said_of_a_domain_now(domain: str, word: Word) -> None:
    """By whom it is denied: a server that answers for its own zone asks nobody. Nothing that was kept counts."""

    async def question(client: DnsClient, server: FakeDnsServer, clock: FakeClock) -> None:
        server.records["gone.example", "A"] = server.records["gone.example", "AAAA"] = NXDOMAIN
        assert await client.word_on(domain) is word
        if word is Word.THERE:
            await client.mx(domain)
            server.records = {(domain, "MX"): NXDOMAIN, (domain, "A"): NXDOMAIN, (domain, "AAAA"): NXDOMAIN}
            assert await client.word_on(domain) is Word.DENIED

    ask(question)


@pytest.mark.parametrize(
    ("flags", "zone", "is_own"),
    [
        ("QR AA", "example.", True),
        ("QR", "example.", False),
        ("QR AA", ".", False),
        ("QR AA", "other.", False),
    ],
)
def test_who_denies_a_name_of_a_zone_of_its_own(flags: str, zone: str, is_own: bool) -> None:
    """The SOA of a zone above the name, said with authority; that of the root is what anybody may pass on."""
    text = f"id 1\nopcode QUERY\nrcode NXDOMAIN\nflags {flags}\n;QUESTION\na.example. IN MX\n;ANSWER\n;AUTHORITY\n"
    text += f"{zone} 60 IN SOA ns.example. root.example. 1 3600 600 86400 60\n;ADDITIONAL\n"
    response = dns.message.from_text(text)
    assert _is_of_its_own(response, dns.name.from_text("a.example.")) is is_own
