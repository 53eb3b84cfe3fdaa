"""Macros of SPF: the examples of the standard, and corners."""

from ipaddress import ip_address

import pytest

from cmail.policy.msgauth.spf_macros import Facts, expand, expand_domain

SENDER = "strong-bad@email.example.com"
V4 = Facts(ip_address("192.0.2.3"), SENDER, "mx.example.com", "mx.example.org", 1_234_567_890)
V6 = Facts(ip_address("2001:db8::cb01"), SENDER)

# RFC 7208 §7.4.
EXAMPLES = [
    ("%{s}", SENDER),
    ("%{o}", "email.example.com"),
    ("%{d}", "email.example.com"),
    ("%{d4}", "email.example.com"),
    ("%{d3}", "email.example.com"),
    ("%{d2}", "example.com"),
    ("%{d1}", "com"),
    ("%{dr}", "com.example.email"),
    ("%{d2r}", "example.email"),
    ("%{l}", "strong-bad"),
    ("%{l-}", "strong.bad"),
    ("%{lr}", "strong-bad"),
    ("%{lr-}", "bad.strong"),
    ("%{l1r-}", "strong"),
    ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
    ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
    ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
    ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
    ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
    ("%{S}", "strong-bad%40email.example.com"),
    ("%%%_%-", "% %20"),
    ("%{h} %{c} %{r} %{t} %{p}", "mx.example.com 192.0.2.3 mx.example.org 1234567890 unknown"),
]


@pytest.mark.parametrize(("text", "expected"), EXAMPLES)
def test_examples(text: str, expected: str) -> None:
    """Letters, digits, r, delimiters, capitals."""
    assert expand(text, V4, "email.example.com") == expected


def test_ipv6() -> None:
    """Every half octet by itself."""
    found = expand("%{ir}.%{v}._spf.%{d2}", V6, "email.example.com")
    nibbles = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    assert found == f"{nibbles}.ip6._spf.example.com"


def test_domains() -> None:
    """Nothing is the domain itself; what is too long loses labels from the left (RFC 7208 §7.3)."""
    assert expand_domain("", V4, "d.example") == "d.example"
    assert expand_domain("x.%{d}.", V4, "d.example", "p") == "x.d.example"
    assert expand_domain("%{p}.x.example", V4, "d.example", "p.example") == "p.example.x.example"
    long = ".".join(["a" * 60] * 5)
    assert expand_domain(f"{long}.example", V4, "d.example") == f"{long[61:]}.example"


def test_a_count_of_nothing_and_a_huge_one() -> None:
    """Digits that nobody needs do no harm."""
    assert expand("%{d0}", V4, "a.b") == "a.b" == expand("%{d99999999}", V4, "a.b")
