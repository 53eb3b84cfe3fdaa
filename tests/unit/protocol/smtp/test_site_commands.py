"""ETRN and ATRN as they may be said, and the machine when a connection turns round."""

import pytest

from cmail.protocol.smtp import site_commands as sites
from cmail.protocol.smtp.commands import CommandError
from cmail.protocol.smtp.site_commands import Etrn, parse_atrn, parse_etrn
from tests.support.fake_house import FakeHouse

HELLO = b"EHLO x\r\n"


@pytest.mark.parametrize(
    ("line", "option", "node"),
    [
        (b"ETRN example.org", "", "example.org"),
        (b"etrn  EXAMPLE.org ", "", "example.org"),
        (b"ETRN @example.org", "@", "example.org"),
        (b"ETRN #ship", "#", "ship"),
        (b"ETRN #0A1B2C", "#", "0A1B2C"),
    ],
)
def test_the_three_forms_of_etrn(line: bytes, option: str, node: str) -> None:
    """RFC 1985 §5: a domain, a domain with all below it, a queue by its name."""
    assert parse_etrn(line) == Etrn(option, node)


@pytest.mark.parametrize(
    "line",
    [b"ETRN", b"ETRN ", b"ETRN a b", b"ETRN @", b"ETRN #", b"ETRN #a/b", b"ETRN [192.0.2.1]", b"ETRN a..b",
     b"ETRN \xc3\xa4.example", b"ETRNexample.org", b"ETRN " + b"a" * 300, b"ETRN #@x"],
)  # fmt: skip
def test_what_is_no_etrn(line: bytes) -> None:
    """501, and the forms that there are."""
    with pytest.raises(CommandError) as caught:
        parse_etrn(line)
    assert caught.value.reply == sites.BAD_ETRN


def test_the_forms_of_atrn() -> None:
    """RFC 2645 §5.2.1: nothing, a domain, several with commas; each counts once."""
    assert parse_atrn(b"ATRN") == parse_atrn(b"ATRN  ") == ()
    assert parse_atrn(b"ATRN Example.ORG") == ("example.org",)
    assert parse_atrn(b"atrn a.example, b.example,a.example") == ("a.example", "b.example")


@pytest.mark.parametrize("line", [b"ATRN ,", b"ATRN a b", b"ATRN a,,b", b"ATRN [192.0.2.1]", b"ATRN \xff"])
def test_what_is_no_atrn(line: bytes) -> None:
    """501, and its form."""
    with pytest.raises(CommandError) as caught:
        parse_atrn(line)
    assert caught.value.reply == sites.BAD_ATRN


def test_nothing_is_said_after_a_connection_has_turned_round() -> None:
    """250 is the last word of the machine: what comes then it does not read."""
    house = FakeHouse()
    house.hears(HELLO)
    assert house.hears(b"ATRN example.org\r\n") == sites.TURNING
    assert house.hears(b"220 ship ready\r\n", b"QUIT\r\n") == b""
    assert not house.machine.is_over and not house.machine.is_idle


def test_octets_behind_atrn_end_the_session() -> None:
    """Whoever speaks on before the 250 could be somebody else's words in the turned connection."""
    house = FakeHouse()
    house.hears(HELLO)
    assert house.hears(b"ATRN\r\n220 early\r\n") == sites.EARLY_OCTETS
    assert house.machine.is_over
