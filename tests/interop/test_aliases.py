"""Aliases, plus addressing, catch-all, postmaster: who really gets it, here and at the upstream server."""

import smtplib
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.house import RunningCmail, wait_for
from tests.support.sink_mx import SinkMx
from tests.support.threads import in_thread

USERS: Final = ["anna@example.org", "bert@example.org", "postmaster@example.org", "all@other.example"]
ALIASES: Final = [
    ("team@example.org", ["anna@example.org", "bert@example.org", "out@example.net"]),
    ("sales@example.org", ["team@example.org", "anna@example.org", "more@example.net"]),
    ("ping@example.org", ["pong@example.org"]),
    ("pong@example.org", ["ping@example.org"]),
    ("ring@example.org", ["gnir@example.org", "anna@example.org"]),
    ("gnir@example.org", ["ring@example.org", "bert@example.org"]),
    ("bert@example.org", ["bert@example.org", "copy@example.net"]),
    ("@other.example", ["all@other.example"]),
]
A, B, ALL, POST = USERS
# name -> RCPT TO, the mailboxes that get one each, who gets it upstream
CASES: Final[dict[str, tuple[list[str], list[str], list[str]]]] = {
    "one to many, and outside": (["team@example.org"], [A, B], ["out@example.net", "copy@example.net"]),
    "alias to alias, nobody twice": (
        ["sales@example.org", A],
        [A, B],
        ["out@example.net", "more@example.net", "copy@example.net"],
    ),
    "aliases in a ring": (["ring@example.org"], [A, B], ["copy@example.net"]),
    "a mailbox that forwards too": ([B], [B], ["copy@example.net"]),
    "plus addressing": (["anna+lists@example.org"], [A], []),
    "plus addressing of an alias": (["bert+x@example.org"], [B], ["copy@example.net"]),
    "capitals": (["ANNA@Example.ORG"], [A], []),
    "the host name": (["anna@mail.example.org"], [A], []),
    "catch-all": (["whoever@other.example"], ["all@other.example"], []),
    "postmaster without a domain": (["postmaster"], ["postmaster@example.org"], []),
    "Postmaster of the other domain": (["Postmaster@mail.example.org"], ["postmaster@example.org"], []),
    "a source route": (["@relay.example,@b.example:anna@example.org"], [A], []),
    "a quoted local part": (['"anna"@example.org'], [A], []),
}


class House(RunningCmail):
    """A server with the aliases, and its upstream server."""

    upstream: SinkMx


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server for all cases; each knows its mail by the subject."""
    with in_thread(SinkMx()) as sink:
        domains = ("example.org", "other.example")
        settings = SETTINGS_OF_TWO.format(port=sink.port)
        users = [(name, "x") for name in USERS]
        folder = tmp_path_factory.mktemp("house")
        with House(folder, settings=settings, users=users, aliases=ALIASES, domains=domains) as cmail:
            cmail.upstream = sink
            yield cmail


SETTINGS_OF_TWO: Final = """\
[host]
hostname = "mail.example.org"
domains = ["example.org", "other.example"]
data_dir = "data"
user = "nobody"
workers = 2

[[listener]]
kind = "smtp"
address = "127.0.0.1:0"

[smtp]
host = "127.0.0.1"
port = {port}

[admin]
address = ""
"""


@pytest.mark.parametrize("name", CASES)
def test_who_gets_it(house: House, name: str) -> None:
    """'Aliases (one to many, to outside too, loops caught), plus addressing, catch-all': each recipient gets
    one copy, nobody else any."""
    to, mailboxes, outside = CASES[name]
    subject = f"Subject: {name}."
    with smtplib.SMTP("127.0.0.1", house.port("smtp"), timeout=60) as client:
        client.ehlo()
        client.mail("x@example.net")
        for address in to:
            code, said = client.docmd("RCPT", f"TO:<{address}>")
            assert code == 250, said
        assert client.data(f"From: <a@example.net>\r\n{subject}\r\n\r\nhello\r\n")[0] == 250

    def state() -> tuple[list[str], list[str]]:
        here = [user for user in USERS for text in house.mailbox(user) if f"{subject}\n".encode() in text]
        taken = [t for t in house.upstream.taken if f"{subject}\r\n".encode() in t.content]
        there = [line.partition("<")[2].partition(">")[0] for t in taken for line in t.recipients]
        return sorted(here), sorted(there)

    expected = (sorted(mailboxes), sorted(outside))
    wait_for(lambda: state() == expected and not house.queue(), f"{expected}; it is {state()}")
    assert state() == expected


def test_aliases_that_lead_nowhere(house: House) -> None:
    """Two aliases that mean each other are nobody: refused at RCPT, as an unknown user is."""
    with smtplib.SMTP("127.0.0.1", house.port("smtp"), timeout=60) as client:
        client.ehlo()
        client.mail("x@example.net")
        for nobody in ("ping@example.org", "nobody@example.org", "nobody+x@example.org"):
            assert client.rcpt(nobody)[0] == 550


# name -> RCPT TO, NOTIFY, the actions reported, the recipient of the report's line
REPORTS: Final[dict[str, tuple[str, str, list[str], str]]] = {
    "delivered here": (A, "SUCCESS", ["delivered"], A),
    "relayed where nobody knows DSN": ("b@example.net", "SUCCESS,FAILURE", ["relayed"], "b@example.net"),
    "expanded": ("team@example.org", "SUCCESS", ["expanded"], "team@example.org"),
    "never": (A, "NEVER", [], A),
    "failure alone": (A, "FAILURE,DELAY", [], A),
}


@pytest.mark.parametrize("name", REPORTS)
def test_success_is_reported_when_asked(house: House, name: str) -> None:
    """'Success DSN when asked': one report with ENVID and ORCPT, to the sender, from nobody."""
    to, notify, actions, final = REPORTS[name]
    envid = f"E{list(REPORTS).index(name)}+2B"
    with smtplib.SMTP("127.0.0.1", house.port("smtp"), timeout=60) as client:
        options = [f"NOTIFY={notify}", "ORCPT=rfc822;first+2B@example.net"]
        text = f"From: <a@example.net>\r\nSubject: asked {name}.\r\n\r\nhello\r\n"
        client.sendmail("all@other.example", [to], text, [f"ENVID={envid}"], options)

    def reports() -> list[bytes]:
        wanted = f"\nOriginal-Envelope-Id: {envid.replace('+2B', '+')}\n".encode()
        return [text for text in house.mailbox("all@other.example") if wanted in text]

    wait_for(lambda: not house.queue() and len(reports()) == len(actions), f"{actions}")
    for report, action in zip(reports(), actions, strict=True):
        assert report.startswith(b"Return-Path: <>\n")
        assert f"\nFinal-Recipient: rfc822; {final}\nAction: {action}\nStatus: 2.".encode() in report
        assert b"\nOriginal-Recipient: rfc822; first+@example.net\n" in report
