"""Servers of others that are in trouble, at every stage, and the running server: what is deferred, what bounces.

By MX every row has a domain and a server of its own, so that all of them are in trouble at the same time; the
rows of the upstream server take turns. Afterwards the servers are well again, and everything that did not bounce
arrives, once."""

import os
import pwd
import re
import smtplib
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from cmail.net.dns_client import LIFETIME_S
from tests.support.fake_dns import HANG as DNS_HANG
from tests.support.fake_dns import SERVFAIL, FakeDnsServer
from tests.support.house import PATIENCE_S, RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.ports import free_port
from tests.support.sink_mx import CLOSE, HANG, RESET, Reaction, SinkMx

MESSAGE = b"From: anna@example.org\r\nSubject: hello\r\n\r\nHello.\r\n"
PASSWORD = "correct horse, battery=staple"
QUICK = '[queue]\nretry = ["1h"]\n'

DEFERRED, BOUNCED, DELIVERED, HANGING = "deferred", "bounced", "delivered", "hanging"

# name: (what the server does, how the recipient fares, words that the reason or the bounce has)
STAGES: dict[str, tuple[Mapping[str, Reaction], str, str]] = {
    "all is well": ({}, DELIVERED, ""),
    "greeting 421": ({"connect": b"421 4.3.2 busy\r\n"}, DEFERRED, "the greeting: 421 4.3.2 busy"),
    "greeting 554": ({"connect": b"554 5.7.1 go away\r\n"}, DEFERRED, "the greeting: 554 5.7.1 go away"),
    "greeting garbage": ({"connect": b"SSH-2.0-OpenSSH\r\n"}, DEFERRED, "this is no SMTP reply: 'SSH-2.0"),
    "greeting closes": ({"connect": CLOSE}, DEFERRED, "closed the connection"),
    "greeting resets": ({"connect": RESET}, DEFERRED, "connection"),
    "greeting hangs": ({"connect": HANG}, HANGING, ""),
    "EHLO 421": ({"EHLO": b"421 4.3.2 busy\r\n"}, DEFERRED, "EHLO: 421"),
    "EHLO 451": ({"EHLO": b"451 4.3.0 later\r\n"}, DEFERRED, "EHLO: 451 4.3.0 later"),
    "EHLO 550 HELO 550": (
        {"EHLO": b"550 no\r\n", "HELO": b"550 5.7.1 no\r\n"},
        DEFERRED,
        "HELO: 550 5.7.1 no",
    ),
    "EHLO 502 HELO well": ({"EHLO": b"502 what?\r\n"}, DELIVERED, ""),
    "EHLO garbage": ({"EHLO": b"mumble\r\n"}, DEFERRED, "this is no SMTP reply: 'mumble'"),
    "EHLO closes": ({"EHLO": CLOSE}, DEFERRED, "at EHLO"),
    "EHLO hangs": ({"EHLO": HANG}, HANGING, ""),
    "MAIL 421": ({"MAIL": b"421 4.3.2 busy\r\n"}, DEFERRED, "421 4.3.2 busy"),
    "MAIL 451": ({"MAIL": b"451 4.3.0 later\r\n"}, DEFERRED, "MAIL: 451 4.3.0 later"),
    "MAIL 550": ({"MAIL": b"550 5.1.8 who?\r\n"}, BOUNCED, "550 5.1.8 who?"),
    "MAIL 530 of a stranger": ({"MAIL": b"530 5.7.0 log in\r\n"}, BOUNCED, "530 5.7.0 log in"),
    "MAIL garbage": ({"MAIL": b"mumble\r\n"}, DEFERRED, "this is no SMTP reply: 'mumble'"),
    "MAIL closes": ({"MAIL": CLOSE}, DEFERRED, "connection"),
    "MAIL resets": ({"MAIL": RESET}, DEFERRED, "connection"),
    "MAIL hangs": ({"MAIL": HANG}, HANGING, ""),
    "RCPT 421": ({"RCPT": b"421 4.3.2 busy\r\n"}, DEFERRED, "421 4.3.2 busy"),
    "RCPT 450": ({"RCPT": b"450 4.2.0 greylisted\r\n"}, DEFERRED, "RCPT: 450 4.2.0 greylisted"),
    "RCPT 452": ({"RCPT": b"452 4.3.1 full\r\n"}, DEFERRED, "452 4.3.1 full"),
    "RCPT 550": ({"RCPT": b"550 5.1.1 nobody\r\n"}, BOUNCED, "550 5.1.1 nobody"),
    "RCPT garbage": ({"RCPT": b"mumble\r\n"}, DEFERRED, "this is no SMTP reply: 'mumble'"),
    "RCPT closes": ({"RCPT": CLOSE}, DEFERRED, "connection"),
    "RCPT hangs": ({"RCPT": HANG}, HANGING, ""),
    "DATA 421": ({"DATA": b"421 4.3.2 busy\r\n"}, DEFERRED, "421 4.3.2 busy"),
    "DATA 451": ({"DATA": b"451 4.3.0 later\r\n"}, DEFERRED, "DATA: 451 4.3.0 later"),
    "DATA 554": ({"DATA": b"554 5.7.1 no\r\n"}, BOUNCED, "554 5.7.1 no"),
    "DATA 250": ({"DATA": b"250 what\r\n"}, DEFERRED, "DATA"),
    "DATA closes": ({"DATA": CLOSE}, DEFERRED, "connection"),
    "DATA hangs": ({"DATA": HANG}, HANGING, ""),
    "dot 421": ({"content": b"421 4.3.2 busy\r\n"}, DEFERRED, "421 4.3.2 busy"),
    "dot 451": ({"content": b"451 4.7.1 later\r\n"}, DEFERRED, "451 4.7.1 later"),
    "dot 554": ({"content": b"554 5.7.1 spam\r\n"}, BOUNCED, "554 5.7.1 spam"),
    "dot garbage": ({"content": b"mumble\r\n"}, DEFERRED, "this is no SMTP reply: 'mumble'"),
    "dot closes": ({"content": CLOSE}, DEFERRED, "connection"),
    "dot resets": ({"content": RESET}, DEFERRED, "connection"),
    "dot hangs": ({"content": HANG}, HANGING, ""),
    "QUIT 421": ({"QUIT": b"421 4.3.2 busy\r\n"}, DELIVERED, ""),
    "QUIT garbage": ({"QUIT": b"mumble\r\n"}, DELIVERED, ""),
    "QUIT closes": ({"QUIT": CLOSE}, DELIVERED, ""),
    "QUIT hangs": ({"QUIT": HANG}, DELIVERED, ""),
}


@dataclass
class Row:
    """A domain of the table with its server."""

    name: str
    fate: str
    words: str
    sink: SinkMx
    address: str


def send(cmail: RunningCmail, *recipients: str) -> None:
    """One message from anna to each."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        for to in recipients:
            client.sendmail("anna@example.org", [to], MESSAGE)


def flush(cmail: RunningCmail) -> None:
    """`cmail queue flush`."""
    for name in ("worker-0", "worker-1"):
        cmail.ask(name, "queue.flush", filter={})


def drain(cmail: RunningCmail) -> None:
    """Flush until the queue is empty."""

    def is_empty() -> bool:
        flush(cmail)
        return not cmail.queue()

    wait_for(is_empty, f"an empty queue: {cmail.queue()}")


def bounces(cmail: RunningCmail) -> dict[str, str]:
    """Who could not be reached, of the reports in anna's mailbox, and the whole report."""
    found: dict[str, str] = {}
    for report in cmail.mailbox("anna@example.org"):
        text = report.decode()
        for to in re.findall(r"^Final-Recipient: rfc822; *(\S+)", text, re.MULTILINE):
            assert to not in found, f"two reports for {to}"
            found[to] = text
    return found


def fate(row: Row, queue: Mapping[str, dict[str, object]], bounced: Mapping[str, str]) -> str:
    """How a row fares just now."""
    if row.address in bounced:
        return BOUNCED
    if row.address not in queue:
        return DELIVERED
    return DEFERRED if queue[row.address]["reason"] else HANGING


def _words(row: Row, queue: Mapping[str, dict[str, str]], bounced: Mapping[str, str]) -> str:
    return bounced.get(row.address) or queue.get(row.address, {}).get("reason", "")


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    with Peers() as running:
        yield running


def start_rows(peers: Peers) -> tuple[list[Row], FakeDnsServer, int]:
    """A domain and a server a row, all on one port; and the DNS that knows them."""
    rows, records, port = [], {}, free_port()
    for number, (name, (script, expected, words)) in enumerate(STAGES.items(), 1):
        domain, host = f"d{number}.example.net", f"127.0.1.{number}"
        rows.append(Row(name, expected, words, SinkMx(script, host=host, port=port), f"b@{domain}"))
        peers.start(rows[-1].sink)
        records[domain, "MX"] = [f"10 mx.{domain}."]
        records[f"mx.{domain}", "A"] = [host]
    return rows, peers.start(FakeDnsServer(dict(records))), port


def test_trouble_at_each_stage(tmp_path: Path, peers: Peers) -> None:
    """Only 5xx to MAIL, RCPT, DATA or the content bounces; everything else waits with the peer's words, a
    server that hangs holds up nobody else, and when all are well again all arrives, once."""
    rows, dns, port = start_rows(peers)
    settings = f'[dns]\nservers = ["{dns.address}"]\n[smtp]\ndelivery = "mx"\n[smtp.advanced]\noutbound_port = {port}\n'
    with RunningCmail(tmp_path, more=settings + QUICK) as cmail:
        send(cmail, *[row.address for row in rows])

        def fates() -> dict[str, str]:
            queue, bounced = {row["to"]: row for row in cmail.queue()}, bounces(cmail)
            return {row.name: fate(row, queue, bounced) for row in rows}

        expected = {row.name: row.fate for row in rows}
        until = time.monotonic() + PATIENCE_S
        while fates() != expected and time.monotonic() < until:
            time.sleep(0.05)
        found = fates()
        assert {n: f for n, f in found.items() if f != expected[n]} == {}
        for row in rows:
            if row.fate != HANGING:
                cmail.wait_for_log(f"to=<{row.address}>")
        queue, bounced = {row["to"]: row for row in cmail.queue()}, bounces(cmail)
        said = {row.name: _words(row, queue, bounced) for row in rows}
        assert {row.name: said[row.name] for row in rows if row.words not in said[row.name]} == {}
        for row in rows:
            wait_for(lambda: len(row.sink.taken) == int(row.fate == DELIVERED), row.name)  # noqa: B023
        for row in rows:
            peers.heal(row.sink)
        drain(cmail)
        assert {row.name: len(row.sink.taken) for row in rows} == {
            row.name: int(row.fate != BOUNCED) for row in rows
        }
        assert bounces(cmail).keys() == {row.address for row in rows if row.fate == BOUNCED}


# name: (script, extensions, tls, words of the reason)
UPSTREAM: dict[str, tuple[Mapping[str, Reaction], Sequence[str], str, str]] = {
    "greeting 554": ({"connect": b"554 5.7.1 go away\r\n"}, (), "none", "the greeting: 554 5.7.1 go away"),
    "EHLO 550": ({"EHLO": b"550 no\r\n", "HELO": b"550 5.7.1 no\r\n"}, (), "none", "HELO: 550 5.7.1 no"),
    "AUTH 535": ({"AUTH": b"535 5.7.8 wrong\r\n"}, (), "none", "535 5.7.8 wrong"),
    "AUTH 454": ({"AUTH": b"454 4.7.0 later\r\n"}, (), "none", "454 4.7.0 later"),
    "AUTH 421": ({"AUTH": b"421 4.3.2 busy\r\n"}, (), "none", "421 4.3.2 busy"),
    "AUTH 504": ({"AUTH": b"504 5.5.4 what?\r\n"}, (), "none", "504 5.5.4 what?"),
    "AUTH garbage": ({"AUTH": b"mumble\r\n"}, (), "none", "AUTH"),
    "AUTH closes": ({"AUTH": CLOSE}, (), "none", "at AUTH"),
    "AUTH resets": ({"AUTH": RESET}, (), "none", "at AUTH"),
    "MAIL 530": ({"MAIL": b"530 5.7.0 log in\r\n"}, (), "none", "530 5.7.0 log in"),
    "MAIL 535": ({"MAIL": b"535 5.7.8 log in\r\n"}, (), "none", "535 5.7.8 log in"),
    "RCPT 538": ({"RCPT": b"538 5.7.11 encrypt\r\n"}, (), "none", "538 5.7.11 encrypt"),
    "no STARTTLS": ({}, (), "required", "TLS is required and the server does not offer STARTTLS"),
    "STARTTLS 454": (
        {"STARTTLS": b"454 4.7.0 later\r\n"},
        ("STARTTLS",),
        "required",
        "STARTTLS: 454 4.7.0 later",
    ),
    "STARTTLS 554": ({"STARTTLS": b"554 5.5.1 no\r\n"}, ("STARTTLS",), "required", "STARTTLS: 554 5.5.1 no"),
    "STARTTLS 421": (
        {"STARTTLS": b"421 4.3.2 busy\r\n"},
        ("STARTTLS",),
        "opportunistic",
        "421 4.3.2 busy",
    ),
    "STARTTLS garbage": ({"STARTTLS": b"mumble\r\n"}, ("STARTTLS",), "required", "STARTTLS"),
    "STARTTLS closes": ({"STARTTLS": CLOSE}, ("STARTTLS",), "required", "at STARTTLS"),
    "STARTTLS, octets behind it": (
        {"STARTTLS": b"220 go\r\n250 evil\r\n"},
        ("STARTTLS",),
        "required",
        "octets behind the reply",
    ),
}


def smarthost(sink: SinkMx, tls: str = "none", host: str = "127.0.0.1", more: str = "") -> str:
    """Settings that send all through the sink, with a log-in."""
    return f'[smtp]\nhost = "{host}"\nport = {sink.port}\ntls = "{tls}"\nusername = "anna"\n{more}{QUICK}'


def wait_for_reason(cmail: RunningCmail, words: str, name: str) -> None:
    """Until the queue says why nothing goes."""

    def reasons() -> list[str]:
        return [row["reason"] for row in cmail.queue()]

    until = time.monotonic() + PATIENCE_S
    while not any(words in reason for reason in reasons()) and time.monotonic() < until:
        time.sleep(0.02)
    assert any(words in reason for reason in reasons()), f"{name}: {reasons()}"


def test_trouble_with_the_upstream_server(tmp_path: Path, peers: Peers) -> None:
    """What is wrong between us and our own upstream server, at the greeting, the log-in or TLS, 4xx or 5xx,
    is said in the log and in the queue, and never bounces; the password is nowhere in the log."""
    extensions = ("PIPELINING", "8BITMIME", "AUTH PLAIN")
    sink = peers.start(SinkMx(extensions=extensions, users={"anna": PASSWORD}))
    text = smarthost(sink)
    with RunningCmail(tmp_path, more=text, environ={"CMAIL_SMTP_PASSWORD": PASSWORD}) as cmail:
        base = cmail.config.read_text()
        for count, (name, (script, offered, tls, words)) in enumerate(UPSTREAM.items(), 1):
            # Between two troubles it takes nothing: what waits is tried again at any time.
            peers.heal(sink, {"connect": b"421 4.3.2 not now\r\n"})
            sink.extensions = (*extensions, *offered)
            cmail.config.write_text(base.replace('tls = "none"', f'tls = "{tls}"'))
            cmail.ask("supervisor", "reload")
            sink.script = script
            before = len(cmail.log())
            send(cmail, f"b{count}@example.net")
            flush(cmail)
            wait_for_reason(cmail, words, name)
            wait_for(lambda: words in cmail.log()[before:], f"{name}: {words!r} in the log")  # noqa: B023
            assert sink.taken == [] and len(cmail.queue()) == count, name
        assert cmail.mailbox("anna@example.org") == []
        peers.heal(sink)
        sink.extensions = extensions
        cmail.config.write_text(base)
        cmail.ask("supervisor", "reload")
        drain(cmail)
        assert len(sink.taken) == len(UPSTREAM)
        assert PASSWORD not in cmail.log()


@pytest.mark.parametrize("stage", ["connect", "EHLO", "STARTTLS", "AUTH", "content"])
def test_upstream_server_that_hangs(tmp_path: Path, peers: Peers, stage: str) -> None:
    """While the upstream server says nothing mail for people here is delivered, new mail for elsewhere is
    taken, and the server stops when it is told to; what hung is still in the queue, and arrives."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    extensions = ("PIPELINING", "AUTH PLAIN")
    sink = peers.start(SinkMx({stage: HANG}, extensions=extensions, users={"anna": PASSWORD}, tls=context))
    text = smarthost(sink, "opportunistic")
    with RunningCmail(tmp_path, more=text, environ={"CMAIL_SMTP_PASSWORD": PASSWORD}) as cmail:
        send(cmail, "b@example.net")
        wait_for(lambda: sink.connections, "a connection to the upstream server")
        send(cmail, "anna@example.org", "c@example.net")
        cmail.wait_for_mail("anna@example.org")
        wait_for(lambda: len(cmail.queue()) == 2, "the record of what is in the mailbox")
        assert sink.taken == []
        assert cmail.stop() == 0
        peers.heal(sink)
        cmail.start()
        drain(cmail)
        assert len(sink.taken) == 2 and len(cmail.mailbox("anna@example.org")) == 1


@pytest.mark.parametrize("tls", ["required", "implicit"])
def test_certificate_that_does_not_verify(tmp_path: Path, peers: Peers, tls: str) -> None:
    """Nothing is sent, in the clear or otherwise: it waits, the words name the certificate; with the
    authority in tls.ca_file it goes, encrypted."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    sink = peers.start(
        SinkMx(
            extensions=("PIPELINING", "AUTH PLAIN"),
            users={"anna": PASSWORD},
            tls=context,
            is_implicit_tls=tls == "implicit",
        )
    )
    text = smarthost(sink, tls, "localhost")
    with RunningCmail(tmp_path, more=text, environ={"CMAIL_SMTP_PASSWORD": PASSWORD}) as cmail:
        send(cmail, "b@example.net")
        wait_for_reason(cmail, "the certificate is not good", tls)
        cmail.wait_for_log("the certificate is not good")
        assert sink.taken == [] and not sink.lines("AUTH") and not sink.lines("MAIL")
        assert cmail.mailbox("anna@example.org") == []
        ca_file = cmail.folder / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        with open(cmail.config, "a") as file:
            file.write(f'[tls]\nca_file = "{ca_file}"\n')
        cmail.ask("supervisor", "reload")
        drain(cmail)
        assert [taken.is_encrypted for taken in sink.taken] == [True]


@pytest.mark.parametrize(
    "owner", ["the server's user", pytest.param("root", marks=pytest.mark.needs("root"))]
)
def test_wrong_password_is_said_and_put_right(tmp_path: Path, peers: Peers, owner: str) -> None:
    """535 from the upstream server: nothing bounces, the log and the queue name the log-in; with the right
    password in its file and a reload all goes. A file that only root may read needs a restart: that is said."""
    sink = peers.start(SinkMx(extensions=("PIPELINING", "AUTH PLAIN"), users={"anna": PASSWORD}))
    cmail = RunningCmail(tmp_path, more=smarthost(sink, more='password_file = "password"\n'))
    file = cmail.folder / "password"
    file.write_text("guess\n")
    file.chmod(0o600)
    if os.geteuid() == 0 and owner != "root":
        os.chown(file, pwd.getpwnam("nobody").pw_uid, -1)
    with cmail:
        send(cmail, "b@example.net", "c@example.net")
        wait_for_reason(cmail, "the log-in as anna: 535 5.7.8 no", "535")
        assert "guess" not in cmail.wait_for_log("the log-in as anna: 535 5.7.8 no")
        assert len(cmail.queue()) == 2 and cmail.mailbox("anna@example.org") == []
        cmail.ask("supervisor", "reload")
        assert "cannot be read any more" not in cmail.log()
        file.write_text(f"{PASSWORD}\n")
        cmail.ask("supervisor", "reload")
        if owner == "root":
            cmail.wait_for_log(f"warning: smtp.password_file {file} has changed and cannot be read any more")
            cmail.stop()
            cmail.start()
        drain(cmail)
        assert len(sink.taken) == 2


def test_no_host_is_set(tmp_path: Path, peers: Peers) -> None:
    """Without an SMTP host mail for elsewhere is taken and waits, and the log says what is missing; naming
    the host sends it."""
    sink = peers.start(SinkMx())
    with RunningCmail(tmp_path, more=QUICK) as cmail:
        send(cmail, "b@example.net")
        wait_for_reason(cmail, "no SMTP host is set (smtp.host)", "no host")
        cmail.wait_for_log("no SMTP host is set (smtp.host): mail for the Internet waits")
        with open(cmail.config, "a") as file:
            file.write(f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n')
        cmail.ask("supervisor", "reload")
        drain(cmail)
        assert len(sink.taken) == 1 and cmail.mailbox("anna@example.org") == []


def test_host_that_refuses_connections(tmp_path: Path, peers: Peers) -> None:
    """Nobody listens at the upstream host: it waits and says so, and goes when somebody does."""
    port = free_port()
    with RunningCmail(tmp_path, more=f'[smtp]\nhost = "127.0.0.1"\nport = {port}\n{QUICK}') as cmail:
        send(cmail, "b@example.net")
        wait_for_reason(cmail, "connection refused", "refused")
        cmail.wait_for_log("connection refused")
        sink = peers.start(SinkMx(port=port))
        drain(cmail)
        assert len(sink.taken) == 1 and cmail.mailbox("anna@example.org") == []


def test_dns_in_trouble(tmp_path: Path, peers: Peers) -> None:
    """SERVFAIL and silence, for the MX and for the address of its host: deferred with the name and the words,
    nobody is told, other domains go on; when the DNS is well again everything goes."""
    sink = peers.start(SinkMx())
    good: dict[tuple[str, str], list[str] | str] = {("mx.example.net", "A"): ["127.0.0.1"]}
    for name in ("well", "fails", "hangs"):
        good[f"{name}.example.net", "MX"] = ["10 mx.example.net."]
    for name in ("fails", "hangs"):
        good[f"a-{name}.example.net", "MX"] = [f"10 mx-{name}.example.net."]
        good[f"mx-{name}.example.net", "A"] = ["127.0.0.1"]
    bad = good | {
        ("fails.example.net", "MX"): SERVFAIL,
        ("hangs.example.net", "MX"): DNS_HANG,
        ("mx-fails.example.net", "A"): SERVFAIL,
        ("mx-hangs.example.net", "A"): DNS_HANG,
        ("mx-hangs.example.net", "AAAA"): DNS_HANG,
    }
    dns = peers.start(FakeDnsServer(bad))
    settings = f'[dns]\nservers = ["{dns.address}"]\n[smtp]\ndelivery = "mx"\n[smtp.advanced]\noutbound_port = {sink.port}\n'
    names = ["fails", "hangs", "a-fails", "a-hangs"]
    with RunningCmail(tmp_path, more=settings + QUICK) as cmail:
        send(cmail, *[f"b@{name}.example.net" for name in names], "b@well.example.net")
        wait_for(lambda: sink.taken, "the mail for the domain that is well", LIFETIME_S - 1)
        wait_for(lambda: all(row["reason"] for row in cmail.queue()), "a reason for each")
        reasons = {row["to"]: row["reason"] for row in cmail.queue()}
        assert len(reasons) == 4 and len(sink.taken) == 1
        for name, word in (
            ("fails", "SERVFAIL"),
            ("a-fails", "SERVFAIL"),
            ("hangs", "no answer"),
            ("a-hangs", "no answer"),
        ):
            assert word in reasons[f"b@{name}.example.net"], reasons
            assert f"to=<b@{name}.example.net>" in cmail.log()
        assert cmail.mailbox("anna@example.org") == []
        dns.records = good
        drain(cmail)
        assert len(sink.taken) == 5 and cmail.mailbox("anna@example.org") == []
