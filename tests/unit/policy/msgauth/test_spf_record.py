"""SPF records: what parses to what, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.policy.msgauth.spf_record import SpfSyntaxError, parse_record, select_records

GOOD = [
    ("nothing", "v=spf1", []),
    ("capitals", "V=SPF1 A -ALL", [("+", "a", "", 32, 128), ("-", "all", "", 32, 128)]),
    ("spaces", "v=spf1   mx  ", [("+", "mx", "", 32, 128)]),
    ("a network of a host", "v=spf1 a/24", [("+", "a", "", 24, 128)]),
    ("both networks", "v=spf1 ~a:h.example.org/24//64", [("~", "a", "h.example.org", 24, 64)]),
    ("the second alone", "v=spf1 mx//64", [("+", "mx", "", 32, 64)]),
    ("a slash in a macro", "v=spf1 a:%{d/}", [("+", "a", "%{d/}", 32, 128)]),
    ("an include", "v=spf1 ?include:_spf.isp.example", [("?", "include", "_spf.isp.example", 32, 128)]),
    ("exists", "v=spf1 exists:%{ir}.x.example", [("+", "exists", "%{ir}.x.example", 32, 128)]),
    ("ptr", "v=spf1 ptr ptr:example.org", [("+", "ptr", "", 32, 128), ("+", "ptr", "example.org", 32, 128)]),
    ("a final dot", "v=spf1 a:h.example.org.", [("+", "a", "h.example.org.", 32, 128)]),
    ("an unknown modifier", "v=spf1 moo=%{d} a", [("+", "a", "", 32, 128)]),
    ("/0", "v=spf1 a/0", [("+", "a", "", 0, 128)]),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_what_parses(text: str, expected: list[tuple[str, str, str, int, int]]) -> None:
    """Qualifier, name, domain and both prefix lengths of each term."""
    found = [(m.qualifier, m.name, m.domain, m.prefix4, m.prefix6) for m in parse_record(text).mechanisms]
    assert found == expected


def test_networks_and_modifiers() -> None:
    """ip4 and ip6 with and without a length, host bits are cut; redirect and exp."""
    record = parse_record(
        "v=spf1 ip4:192.0.2.9/24 ip4:192.0.2.1 ip6:2001:db8::/32 redirect=_spf.%{d} exp=why.%{d}"
    )
    assert [str(m.network) for m in record.mechanisms] == ["192.0.2.0/24", "192.0.2.1/32", "2001:db8::/32"]
    assert (record.redirect, record.exp, record.all) == ("_spf.%{d}", "why.%{d}", None)
    assert str(record.mechanisms[0]) == "ip4:192.0.2.9/24"


BAD = [
    ("another version", "v=spf2 a"),
    ("an unknown mechanism", "v=spf1 mix"),
    ("a tab", "v=spf1 a\tmx"),
    ("all with an argument", "v=spf1 all:example.org"),
    ("include without one", "v=spf1 include"),
    ("include of nothing", "v=spf1 include:"),
    ("a of nothing", "v=spf1 a:"),
    ("ip4 without an address", "v=spf1 ip4:"),
    ("ip4 too short", "v=spf1 ip4:192.0.2"),
    ("ip4 with IPv6", "v=spf1 ip4:2001:db8::1"),
    ("ip6 with IPv4", "v=spf1 ip6:192.0.2.1"),
    ("an impossible length", "v=spf1 ip4:192.0.2.1/33"),
    ("a leading zero", "v=spf1 ip4:192.0.2.0/024"),
    ("a length of a that is none", "v=spf1 a/33"),
    ("of IPv6", "v=spf1 a//129"),
    ("three digits", "v=spf1 a:h.example.org/240"),
    ("a host that is a number", "v=spf1 a:192.0.2.1"),
    ("a single label", "v=spf1 a:localhost"),
    ("a % by itself", "v=spf1 a:%x.example.org"),
    ("a macro that is none", "v=spf1 exists:%{z}.example.org"),
    ("an open macro", "v=spf1 exists:%{d.example.org"),
    ("a macro for explanations", "v=spf1 exists:%{c}.example.org"),
    ("redirect twice", "v=spf1 redirect=a.example redirect=b.example"),
    ("exp twice", "v=spf1 exp=a.example exp=b.example"),
    ("redirect to nothing", "v=spf1 redirect="),
    ("not ASCII", "v=spf1 a:b\u00fccher.example"),
    ("two qualifiers", "v=spf1 +-all"),
    ("a bad unknown modifier", "v=spf1 moo=%"),
    ("far too long", "v=spf1 " + "a " * 5000),
]


@pytest.mark.parametrize("text", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_refused(text: str) -> None:
    """One error anywhere makes the whole record void."""
    with pytest.raises(SpfSyntaxError):
        parse_record(text)


def test_which_records_are_spf() -> None:
    """The version, then a space or nothing; others are passed over (RFC 7208 §4.5)."""
    texts = ["v=spf1 a", "v=spf10 a", "V=spf1", "hello", "v=spf1\ta", " v=spf1 a"]
    assert select_records(texts) == ["v=spf1 a", "V=spf1"]


@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    """No text raises anything else."""
    for each in (text, "v=spf1 " + text, "v=spf1 a:" + text):
        try:
            parse_record(each)
        except SpfSyntaxError:
            continue
