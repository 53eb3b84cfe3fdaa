"""Each check in each of its states: what is said, in which colour, with which record to copy."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cmail.admin.checks.addresses import check_addresses, check_reverse
from cmail.admin.checks.clock import check_clock
from cmail.admin.checks.dmarc import check_dmarc
from cmail.admin.checks.finding import OFFLINE, Finding, NotKnownError, State
from cmail.admin.checks.inquiry import Inquiry
from cmail.admin.checks.mx import check_mx
from cmail.admin.checks.port25 import check_port25
from cmail.admin.checks.settings import CheckSettings
from cmail.admin.checks.spf import check_spf
from cmail.delivery.settings import SmtpSettings
from cmail.net.settings import DnsSettings
from tests.support.fake_checks import SERVFAIL, UNREACHABLE, World

SMARTHOST = SmtpSettings(host="smtp.isp.example")
CHECKS: dict[str, Callable[[Inquiry], Awaitable[Finding]]] = {
    "addresses": check_addresses,
    "reverse": check_reverse,
    "mx": lambda inquiry: check_mx(inquiry, "example.org"),
    "spf": lambda inquiry: check_spf(inquiry, "example.org"),
    "dmarc": lambda inquiry: check_dmarc(inquiry, "example.org"),
    "port25": check_port25,
    "clock": check_clock,
}
MX, TXT, A, PTR = ("example.org", "MX"), ("example.org", "TXT"), ("mail.example.org", "A"), "PTR"
DMARC = ("_dmarc.example.org", "TXT")
REVERSE = ("1.2.0.192.in-addr.arpa", "PTR")
G, L, W, U = State.GOOD, State.LOOK, State.WRONG, State.UNKNOWN
ENDS_AT_US = "mail.example.org."


def find(check: str, world: World, **changes: Any) -> Finding:
    """What a check says, however it ends."""
    try:
        return asyncio.run(_await(CHECKS[check](world.inquiry(**changes))))
    except NotKnownError as end:
        return end.finding


async def _await(found: Awaitable[Finding]) -> Finding:
    return await found


# check, what it is, changes of the DNS (None: no such name), changes of the settings, state, words, a record
DNS_CASES: list[tuple[str, str, dict[Any, Any], dict[str, Any], State, str, str]] = [
    ("mx", "names us", {}, {}, G, "That is this server", ""),
    ("mx", "another name of us", {MX: ["10 mx.example.org."], ("mx.example.org", "A"): ["192.0.2.1"]}, {}, G, "this server", ""),
    ("mx", "none", {MX: None, ("example.org", "A"): []}, {}, W, "nobody can send mail", "IN MX 10 mail.example.org."),
    ("mx", "no such domain", {MX: None, TXT: None}, {}, W, "no MX record and no address", "IN MX 10"),
    ("mx", "none, the address is ours", {MX: None, ("example.org", "A"): ["192.0.2.1"]}, {}, L, "the address of the domain", "IN MX"),
    ("mx", "none, the address is another", {MX: None, ("example.org", "A"): ["192.0.2.9"]}, {}, W, "192.0.2.9", "IN MX"),
    ("mx", "null", {MX: ["0 ."]}, {}, W, "takes no mail at all", "IN MX 10"),
    ("mx", "an address", {MX: ["10 192.0.2.1."]}, {}, W, "has to be a name", "IN MX"),
    ("mx", "a name without address", {MX: ["10 mx.gone.example."]}, {}, W, "mx.gone.example has no address", "IN MX"),
    ("mx", "one of two without", {MX: ["10 mail.example.org.", "20 gone.example."]}, {}, L, "gone.example has no", "IN MX"),
    ("mx", "elsewhere, and one that is gone", {MX: ["10 mx.isp.example.", "20 gone.example."], ("mx.isp.example", "A"): ["192.0.2.200"]}, {}, L, "gone", "IN MX"),
    ("mx", "elsewhere", {MX: ["10 mx.isp.example."], ("mx.isp.example", "A"): ["192.0.2.200"]}, {}, L, "not this server", "IN MX"),
    ("mx", "the upstream that is kicked", {MX: ["10 smtp.isp.example."], ("smtp.isp.example", "A"): ["192.0.2.25"]},
     {"smtp": SmtpSettings(host="smtp.isp.example", kick=True)}, G, "upstream", ""),
    ("mx", "we are second", {MX: ["10 a.isp.example.", "20 mail.example.org."], ("a.isp.example", "A"): ["192.0.2.200"]}, {}, L, "tried first", "IN MX"),
    ("mx", "SERVFAIL", {MX: SERVFAIL}, {}, U, "gave no answer", ""),
    ("mx", "no name server", {MX: UNREACHABLE}, {}, U, "No name server answers", ""),
    ("addresses", "ours", {}, {}, G, "an address of this machine", ""),
    ("addresses", "none", {A: []}, {}, W, "has no address", "mail.example.org. 3600 IN A 192.0.2.1"),
    ("addresses", "none, mail goes through another", {A: []}, {"smtp": SMARTHOST}, L, "has no address", "IN A"),
    ("addresses", "another machine", {A: ["192.0.2.9"]}, {}, L, "not this machine", ""),
    ("addresses", "one of ours, one of another", {A: ["192.0.2.1", "192.0.2.9"]}, {}, L, "192.0.2.9 is no address", ""),
    ("addresses", "private", {A: ["10.0.0.1"]}, {}, L, "your own network", ""),
    ("addresses", "no name of the Internet", {}, {"hostname": "server"}, W, "no name that the Internet knows", ""),
    ("addresses", "a name of the house", {}, {"hostname": "server.lan", "smtp": SMARTHOST}, L, "no name that", ""),
    ("addresses", "half an answer", {("mail.example.org", "AAAA"): SERVFAIL}, {}, G, "192.0.2.1", ""),
    ("addresses", "SERVFAIL", {A: SERVFAIL, ("mail.example.org", "AAAA"): SERVFAIL}, {}, U, "gave no answer", ""),
    ("reverse", "there and back", {}, {}, G, "leads back", ""),
    ("reverse", "no name", {REVERSE: None}, {}, W, "has no name", "1.2.0.192.in-addr.arpa. 3600 IN PTR mail.example.org."),
    ("reverse", "another name that leads back", {REVERSE: ["dyn1.isp.example"], ("dyn1.isp.example", "A"): ["192.0.2.1"]}, {}, L, "dyn1", "IN PTR"),
    ("reverse", "a name that does not", {REVERSE: ["dyn1.isp.example"]}, {}, W, "does not lead back", "IN PTR"),
    ("reverse", "no name, mail goes through another", {REVERSE: None}, {"smtp": SMARTHOST}, G, "does not matter", ""),
    ("reverse", "SERVFAIL", {REVERSE: SERVFAIL}, {}, U, "gave no answer", ""),
    ("spf", "allows us", {}, {}, G, "allows 192.0.2.1", ""),
    ("spf", "none", {TXT: None}, {}, W, "no SPF record", 'example.org. 3600 IN TXT "v=spf1 mx a:mail.example.org ~all"'),
    ("spf", "other texts", {TXT: ["hello"]}, {}, W, "no SPF record", "v=spf1"),
    ("spf", "two", {TXT: ["v=spf1 mx -all", "v=spf1 a -all"]}, {}, W, "2 SPF records", ""),
    ("spf", "broken", {TXT: ["v=spf1 mix -all"]}, {}, W, "cannot be read", "v=spf1 mx"),
    ("spf", "refuses us", {TXT: ["v=spf1 ip4:192.0.2.9 -all"]}, {}, W, "(fail)", "v=spf1 ip4:192.0.2.9 a:mail.example.org -all"),
    ("spf", "refuses us softly", {TXT: ["v=spf1 ~all"]}, {}, W, "(softfail)", '"v=spf1 a:mail.example.org ~all"'),
    ("spf", "says nothing of us", {TXT: ["v=spf1 ip4:192.0.2.9"]}, {}, L, "(neutral)", "ip4:192.0.2.9 a:mail.example.org\""),
    ("spf", "allows everybody", {TXT: ["v=spf1 +all"]}, {}, L, "everybody else too", ""),
    ("spf", "includes nobody", {TXT: ["v=spf1 include:gone.example -all"]}, {}, W, "no good", ""),
    ("spf", "what it includes is down", {TXT: ["v=spf1 include:d.example -all"], ("d.example", "TXT"): SERVFAIL}, {}, U, "now", ""),
    ("spf", "SERVFAIL", {TXT: SERVFAIL}, {}, U, "gave no answer", ""),
    ("spf", "upstream, none", {TXT: None}, {"smtp": SMARTHOST}, W, "no SPF record", "v=spf1 mx a:smtp.isp.example ~all"),
    ("spf", "upstream, its address", {TXT: ["v=spf1 ip4:192.0.2.25 -all"], ("smtp.isp.example", "A"): ["192.0.2.25"]},
     {"smtp": SMARTHOST}, G, "allows smtp.isp.example", ""),
    ("spf", "upstream, its domain", {TXT: ["v=spf1 include:_spf.isp.example -all"], ("_spf.isp.example", "TXT"): ["v=spf1 -all"]},
     {"smtp": SMARTHOST}, G, "names _spf.isp.example", ""),
    ("spf", "upstream, its domain is gone", {TXT: ["v=spf1 include:_spf.isp.example -all"]}, {"smtp": SMARTHOST}, W, "no good", ""),
    ("spf", "upstream, not named", {("smtp.isp.example", "A"): ["192.0.2.25"]}, {"smtp": SMARTHOST}, L, "does not name", "mx a:smtp.isp.example -all"),
    ("spf", "upstream of the house", {}, {"smtp": SmtpSettings(host="relay.lan")}, U, "own network", ""),
    ("dmarc", "there", {}, {}, G, "The policy is quarantine", ""),
    ("dmarc", "of a part", {DMARC: ["v=DMARC1; p=reject; pct=10"]}, {}, G, "10 in a hundred", ""),
    ("dmarc", "none", {DMARC: None}, {}, L, "no DMARC record", '_dmarc.example.org. 3600 IN TXT "v=DMARC1; p=none'),
    ("dmarc", "two", {DMARC: ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}, {}, W, "2 DMARC records", ""),
    ("dmarc", "broken", {DMARC: ["v=DMARC1; p=maybe"]}, {}, W, "cannot be read", "v=DMARC1; p=none"),
    ("dmarc", "SERVFAIL", {DMARC: SERVFAIL}, {}, U, "gave no answer", ""),
    ("port25", "open", {}, {}, G, "Port 25 is open", ""),
    ("port25", "no such domain", {("gmail.com", "MX"): None}, {}, U, "no mail host", ""),
    ("port25", "no domain set", {}, {"checks": CheckSettings(port25_domain="")}, U, "No domain", ""),
    ("clock", "right", {}, {}, G, "clock is right", ""),
    ("clock", "nobody answers", {("time.cloudflare.com", "A"): SERVFAIL}, {}, U, "not known", ""),
    ("clock", "nobody is asked", {}, {"checks": CheckSettings(time_servers=())}, U, "Nobody is asked", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "dns", "changes", "state", "words", "record"),
    [(row[0], *row[2:]) for row in DNS_CASES],
    ids=[f"{row[0]}: {row[1]}" for row in DNS_CASES],
)
def test_what_the_dns_says(
    check: str, dns: dict[Any, Any], changes: dict[str, Any], state: State, words: str, record: str
) -> None:
    """Each answer of the DNS has its colour, its words and its record."""
    world = World()
    for key, value in dns.items():
        world.dns.records[key] = value
        if value is None:
            del world.dns.records[key]
    found = find(check, world, **changes)
    told = f"{found.found} | {found.expected} | {found.advice}"
    assert (found.state, words in told) == (state, True), found
    assert record in " ".join(found.records) and bool(record) == bool(found.records), found
    assert found.state in (G, U) or found.advice or found.records, "what is not good says what to do"
    assert found.state is U or found.expected, "what should be"


@pytest.mark.parametrize("check", CHECKS)
def test_off_line_nothing_is_asked_and_nothing_is_red(check: str) -> None:
    """With the line down the rows that need the Internet say so, and no name server is bothered."""
    world = World(is_down=True)
    assert find(check, world) == OFFLINE
    assert world.dns.asked == []


@pytest.mark.parametrize("check", CHECKS)
def test_no_name_server_answers(check: str) -> None:
    """The line is said to be up, but nobody answers: not known, never red."""
    world = World()
    world.dns.records = dict.fromkeys(world.dns.records, UNREACHABLE) | {
        ("mail.example.org", "AAAA"): UNREACHABLE
    }
    found = find(check, world)
    assert found.state is U and found.advice, found
    assert "on the page Advanced SMTP Configuration" in found.advice, "where else ones are named"


@pytest.mark.parametrize("check", ["mx", "spf", "dmarc", "addresses", "reverse"])
def test_a_name_server_of_this_machine_is_asked_off_line(check: str) -> None:
    """What it knows is judged; what it does not know is not called missing."""
    dns = DnsSettings(("127.0.0.1:5353", "::1"))
    assert find(check, World(is_down=True), dns=dns).state is G
    empty = World(is_down=True)
    empty.dns.records = {}
    assert find(check, empty, dns=dns) == OFFLINE


@pytest.mark.parametrize("check", ["port25", "clock"])
def test_what_needs_the_line_itself_is_not_tried_off_line(check: str) -> None:
    """Whatever a name server of this machine knows: no connection is tried."""
    dns = DnsSettings(("127.0.0.1:5353",))
    assert find(check, World(is_down=True, greeting=AssertionError()), dns=dns) == OFFLINE


def test_behind_a_router() -> None:
    """The address is not ours and cannot be: said neutrally, with what to compare."""
    world = World(own=("192.168.1.5",), outgoing=("192.168.1.5",))
    found = find("addresses", world)
    assert found.state is U and "behind a router" in found.found and "192.168.1.5" in found.found
    assert find("reverse", world).state is G, "the name leads to the public address"
    assert find("spf", world).state is G


def test_no_public_address_at_all() -> None:
    """Without any nothing is called wrong."""
    world = World(outgoing=())
    world.dns.records["mail.example.org", "A"] = ["192.168.1.5"]
    assert find("reverse", world).state is U
    assert find("spf", world).state is U


def test_records_of_ipv6() -> None:
    """AAAA and ip6.arpa for the addresses of IPv6."""
    world = World(own=("2001:db8::25",), outgoing=("2001:db8::25",))
    world.dns.records["mail.example.org", "A"] = []
    assert find("addresses", world).records == ["mail.example.org. 3600 IN AAAA 2001:db8::25"]
    world.dns.records["mail.example.org", "AAAA"] = ["2001:db8::25"]
    assert find("addresses", world).state is G
    [record] = find("reverse", world).records
    assert record.startswith("5.2.0.0.") and record.endswith(".ip6.arpa. 3600 IN PTR mail.example.org.")


def test_the_policy_of_the_domain_above() -> None:
    """A sub-domain without a record has that of the domain above it."""
    world = World()
    inquiry = world.inquiry()
    found = asyncio.run(check_dmarc(inquiry, "office.example.org"))
    assert found.state is G and "The record of example.org holds" in found.found
    world.dns.records["_dmarc.example.org", "TXT"] = ["v=DMARC1; p=reject; sp=none"]
    assert "The policy is none" in asyncio.run(check_dmarc(inquiry, "office.example.org")).found


GREETINGS: list[tuple[str, object, dict[str, Any], State, str]] = [
    ("open", "220 mx ESMTP", {}, G, "is open"),
    ("refuses our address", "554 5.7.1 no", {}, L, "does not want"),
    ("refuses it, mail goes through another", "554 no", {"smtp": SMARTHOST}, G, "does not want"),
    ("no mail server", "HTTP/1.1 400 Bad Request", {}, W, "no mail server"),
    ("silent", TimeoutError(), {}, W, "your provider (or a firewall) blocks it"),
    ("refused", ConnectionRefusedError(111, "Connection refused"), {}, W, "blocks it"),
    ("blocked, mail goes through another", TimeoutError(), {"smtp": SMARTHOST}, G, "does not matter"),
]


@pytest.mark.parametrize(
    ("said", "changes", "state", "words"), [r[1:] for r in GREETINGS], ids=[r[0] for r in GREETINGS]
)
def test_port_25(said: object, changes: dict[str, Any], state: State, words: str) -> None:
    """What answers out there, or does not; with the raw reply."""
    found = find("port25", World(greeting=said), **changes)
    assert (found.state, words in found.found) == (state, True), found
    assert found.raw, "as it was said"


OFFSETS = [
    (0.0, G, "right"),
    (4.9, G, "right"),
    (-6.0, L, "6 s fast"),
    (120.0, L, "2 min slow"),
    (299.0, L, "slow"),
    (301.0, W, "5 min"),
    (-86400.0 * 365, W, "fast"),
]


@pytest.mark.parametrize(("offset_s", "state", "words"), OFFSETS)
def test_the_clock(offset_s: float, state: State, words: str) -> None:
    """Good to 5 s, wrong from 5 min; what to do."""
    found = find("clock", World(offsets_s={"198.51.100.123": offset_s}))
    assert (found.state, words in found.found) == (state, True), found
    assert (state is G) == (found.advice == "")


def test_one_wrong_time_server_does_not_decide() -> None:
    """The middle of the answers counts, and the upstream server is asked too."""
    world = World(offsets_s={"198.51.100.1": 9000.0, "198.51.100.2": 0.1, "192.0.2.25": 0.2})
    world.dns.records["smtp.isp.example", "A"] = ["192.0.2.25"]
    checks = CheckSettings(time_servers=("198.51.100.1", "198.51.100.2:1123"))
    assert find("clock", world, checks=checks, smtp=SMARTHOST).state is G
