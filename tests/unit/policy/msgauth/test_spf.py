"""check_host: results, mechanisms and limits, with a DNS that is a table."""

import asyncio
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final

import pytest

from cmail.policy.msgauth.spf import SpfResult, check_host
from tests.support.fake_checks import SERVFAIL, FakeDns

# The zone of RFC 7208 appendix A, and domains for the limits.
ZONE: Final = {
    ("example.com", "A"): ["192.0.2.10", "192.0.2.11"],
    ("example.com", "MX"): ["10 mail-a.example.com.", "20 mail-b.example.com."],
    ("amy.example.com", "A"): ["192.0.2.65"],
    ("bob.example.com", "A"): ["192.0.2.66"],
    ("mail-a.example.com", "A"): ["192.0.2.129"],
    ("mail-b.example.com", "A"): ["192.0.2.130"],
    ("example.org", "MX"): ["10 mail-c.example.org."],
    ("mail-c.example.org", "A"): ["192.0.2.140"],
    ("mail-c.example.org", "AAAA"): ["2001:db8::140"],
    ("10.2.0.192.in-addr.arpa", "PTR"): ["example.com"],
    ("65.2.0.192.in-addr.arpa", "PTR"): ["amy.example.com"],
    ("140.2.0.192.in-addr.arpa", "PTR"): ["mail-c.example.org"],
    ("66.2.0.192.in-addr.arpa", "PTR"): ["liar.example.com", "bob.example.com"],
    ("liar.example.com", "A"): ["192.0.2.99"],
    ("inc.example", "TXT"): ["v=spf1 ip4:192.0.2.77 -all"],
    ("soft.example", "TXT"): ["v=spf1 ~all"],
    ("broken.example", "TXT"): ["v=spf1 nonsense"],
    ("two.example", "TXT"): ["v=spf1 a", "v=spf1 mx"],
    ("other.example", "TXT"): ["v=spf10", "hello"],
    ("down.example", "TXT"): SERVFAIL,
    ("down.example", "A"): SERVFAIL,
    ("down.example", "MX"): SERVFAIL,
    ("loop.example", "TXT"): ["v=spf1 include:loop.example -all"],
    ("why.example", "TXT"): ["%{i} may not send mail of %{d}."],
    ("66.2.0.192.list.example", "A"): ["127.0.0.2"],
    ("many.example", "MX"): [f"10 h{n}.many.example." for n in range(11)],
    **{(f"h{n}.many.example", "A"): ["192.0.2.200"] for n in range(11)},
    ("empty.example", "MX"): [],
    **{(f"step{n}.example", "TXT"): [f"v=spf1 redirect=step{n + 1}.example"] for n in range(10)},
    ("step10.example", "TXT"): ["v=spf1 ip4:192.0.2.66 -all"],
}


def judge(
    record: str, client: str, zone: Mapping[tuple[str, str], Sequence[str] | str] | None = None
) -> SpfResult:
    """The result of a record of example.com."""
    dns = FakeDns({**ZONE, ("example.com", "TXT"): [record], **(zone or {})})
    return asyncio.run(
        check_host(dns, ip_address(client), "example.com", "bob@example.com", "amy.example.com")
    )


B = "192.0.2.66"
CASES = [
    # RFC 7208 appendix A.1
    ("everybody", "v=spf1 +all", B, "pass"),
    ("its own address", "v=spf1 a -all", "192.0.2.10", "pass"),
    ("not its own address", "v=spf1 a -all", B, "fail"),
    ("of another domain", "v=spf1 a:example.org -all", "192.0.2.10", "fail"),
    ("mx", "v=spf1 mx -all", "192.0.2.129", "pass"),
    ("mx of another domain", "v=spf1 mx:example.org -all", "192.0.2.140", "pass"),
    ("both", "v=spf1 mx mx:example.org -all", "192.0.2.130", "pass"),
    ("a network of mx", "v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "pass"),
    ("outside of it", "v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.132", "fail"),
    ("ptr", "v=spf1 ptr -all", "192.0.2.10", "pass"),
    ("ptr below the domain", "v=spf1 ptr -all", "192.0.2.65", "pass"),
    ("ptr of another", "v=spf1 ptr -all", "192.0.2.140", "fail"),
    ("ptr without a name", "v=spf1 ptr -all", "10.0.0.4", "fail"),
    ("a name that does not lead back", "v=spf1 ptr:liar.example.com -all", B, "fail"),
    ("ip4", "v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "fail"),
    ("in the network", "v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "pass"),
    # IPv6
    ("AAAA", "v=spf1 mx:example.org -all", "2001:db8::140", "pass"),
    ("a network of AAAA", "v=spf1 mx:example.org//64 -all", "2001:db8::1", "pass"),
    ("an IPv4 length says nothing of IPv6", "v=spf1 mx:example.org/0 -all", "2001:db8::1", "fail"),
    ("ip6", "v=spf1 ip6:2001:db8::/32 -all", "2001:db8:1::1", "pass"),
    ("IPv4 in IPv6", "v=spf1 ip4:192.0.2.66 -all", "::ffff:192.0.2.66", "pass"),
    # Qualifiers and ends
    ("softfail", "v=spf1 ~all", B, "softfail"),
    ("neutral", "v=spf1 ?all", B, "neutral"),
    ("nothing matches", "v=spf1 a", B, "neutral"),
    ("the first that matches", "v=spf1 ?ip4:192.0.2.66 -ip4:192.0.2.66", B, "neutral"),
    # include, exists, redirect
    ("include that passes", "v=spf1 include:inc.example -all", "192.0.2.77", "pass"),
    ("include that fails is no match", "v=spf1 include:inc.example ~all", B, "softfail"),
    ("include that is soft is no match", "v=spf1 include:soft.example -all", B, "fail"),
    ("include of nothing", "v=spf1 include:other.example -all", B, "permerror"),
    ("include of nobody", "v=spf1 include:nobody.example -all", B, "permerror"),
    ("include of a broken one", "v=spf1 include:broken.example -all", B, "permerror"),
    ("include of one that is down", "v=spf1 include:down.example -all", B, "temperror"),
    ("exists with a macro", "v=spf1 exists:%{ir}.list.example -all", B, "pass"),
    ("exists of nobody", "v=spf1 exists:%{ir}.list.example -all", "192.0.2.67", "fail"),
    (
        "exists asks for A of IPv6 clients",
        "v=spf1 exists:66.2.0.192.list.example -all",
        "2001:db8::1",
        "pass",
    ),
    ("redirect", "v=spf1 redirect=inc.example", "192.0.2.77", "pass"),
    ("redirect after all", "v=spf1 -all redirect=inc.example", "192.0.2.77", "fail"),
    ("redirect to nothing", "v=spf1 redirect=other.example", B, "permerror"),
    ("a macro of the sender", "v=spf1 a:%{l}.%{o} -all", B, "pass"),
    ("a macro of the name", "v=spf1 a:%{p} -all", B, "pass"),
    ("a macro of the greeting", "v=spf1 a:%{h} -all", "192.0.2.65", "pass"),
    # Troubles
    ("a broken record", "v=spf1 a mix -all", "192.0.2.10", "permerror"),
    ("a that is down", "v=spf1 a:down.example -all", B, "temperror"),
    ("mx that is down", "v=spf1 mx:down.example -all", B, "temperror"),
    ("a of a name that nobody has", "v=spf1 a:nobody.example -all", B, "fail"),
    # Limits
    ("a circle", "v=spf1 include:loop.example -all", B, "permerror"),
    ("ten steps", "v=spf1 redirect=step1.example", B, "pass"),
    ("eleven steps", "v=spf1 redirect=step0.example", B, "permerror"),
    ("ten that ask", "v=spf1 " + "a " * 10 + "-all", B, "fail"),
    ("eleven that ask", "v=spf1 " + "a " * 11 + "-all", B, "permerror"),
    ("two void ones", "v=spf1 a:x1.example a:x2.example -all", B, "fail"),
    ("three void ones", "v=spf1 a:x1.example a:x2.example a:x3.example -all", B, "permerror"),
    (
        "void without records",
        "v=spf1 mx:empty.example mx:empty.example mx:empty.example -all",
        B,
        "permerror",
    ),
    ("eleven mail hosts", "v=spf1 mx:many.example -all", B, "permerror"),
]


@pytest.mark.parametrize(
    ("record", "client", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_results(record: str, client: str, expected: str) -> None:
    """Each mechanism, each end, each limit."""
    found = judge(record, client)
    assert found.result == expected, found
    assert bool(found.reason) == (expected in ("permerror", "temperror")), "errors say why"


DOMAINS = [
    ("nobody.example", "none"),
    ("other.example", "none"),
    ("two.example", "permerror"),
    ("down.example", "temperror"),
    ("localhost", "none"),
    ("a..example", "none"),
    ("x" * 64 + ".example", "none"),
    ("[192.0.2.1]", "none"),
]


@pytest.mark.parametrize(("domain", "expected"), DOMAINS)
def test_domains_without_a_record(domain: str, expected: str) -> None:
    """No domain, no record, too many, no answer (RFC 7208 §4.3 to §4.5)."""
    result = asyncio.run(check_host(FakeDns(dict(ZONE)), ip_address(B), domain))
    assert result.result == expected


def test_the_explanation_is_that_of_the_domain_itself() -> None:
    """exp counts when the domain itself fails, not when it is included; a broken one says nothing."""
    assert judge("v=spf1 -all exp=why.example", B).explanation == f"{B} may not send mail of example.com."
    assert judge("v=spf1 ~all exp=why.example", B).explanation == ""
    assert judge("v=spf1 -all exp=nobody.example", B).explanation == ""
    included = {("inc.example", "TXT"): ["v=spf1 -all exp=why.example"]}
    assert judge("v=spf1 include:inc.example -all", B, included).explanation == ""
    redirected = judge("v=spf1 redirect=inc.example", B, included)
    assert redirected.explanation == f"{B} may not send mail of inc.example."


def test_what_matched_is_told() -> None:
    """The term as it stands in the record, and how many look-ups it took."""
    found = judge("v=spf1 a mx:example.org ~all", "192.0.2.140")
    assert (found.mechanism, found.lookups) == ("mx:example.org", 2)


def test_an_empty_reverse_path_is_postmaster() -> None:
    """RFC 7208 §4.3: without a local part it is postmaster."""
    zone = {
        ("d.example", "TXT"): ["v=spf1 exists:%{l}.who.example -all"],
        ("postmaster.who.example", "A"): ["127.0.0.1"],
    }
    result = asyncio.run(check_host(FakeDns(zone), ip_address(B), "d.example"))
    assert result.result == "pass"
