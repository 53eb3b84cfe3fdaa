"""[Test connection]: each step says what worked; each way to fail says what to do, and nothing is sent."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from cmail.admin import upstream_steps, upstream_talk, upstream_test
from cmail.admin.upstream_steps import Step, is_fine
from cmail.admin.upstream_test import Upstream
from tests.support.fake_dns import NXDOMAIN, SERVFAIL, UNREACHABLE, FakeResolver
from tests.support.sink_mx import CLOSE, HANG, SinkMx

HOST = "smtp.isp.example"
AUTHORITY = trustme.CA(organization_name="Good Authority")
USERS = {"anna": "secret"}


def server_tls(*names: str, authority: trustme.CA = AUTHORITY, **more: Any) -> ssl.SSLContext:
    """A server's context with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or (HOST,)), **more).configure_cert(context)
    return context


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return str(path)


def run(
    sink: SinkMx | None, upstream: Upstream, resolver: FakeResolver | None = None, **more: Any
) -> list[Step]:
    """The steps of a test against a server on loopback (none: where nothing listens)."""

    async def go() -> list[Step]:
        names = resolver or FakeResolver(hosts={HOST: ["127.0.0.1"]})
        if sink is None:
            return await upstream_test.test_upstream(upstream, names, **more)
        async with sink:
            return await upstream_test.test_upstream(replace(upstream, port=sink.port), names, **more)

    return asyncio.run(go())


def states(steps: Sequence[Step]) -> list[tuple[str, str]]:
    return [(step.name, step.state) for step in steps]


def step(steps: Sequence[Step], name: str) -> Step:
    return next(each for each in steps if each.name == name)


def upstream(ca_file: str = "", **more: Any) -> Upstream:
    usual: dict[str, Any] = {"host": HOST, "tls": "required", "ca_file": ca_file}
    return Upstream("mail.example.org", "postmaster@example.org", **{**usual, **more})


def test_all_that_worked_is_said_step_by_step_and_no_message_is_sent(ca_file: str) -> None:
    """Name, port, greeting, offers, TLS with its certificate, log-in, sender; MAIL is taken back."""
    sink = SinkMx(tls=server_tls(), users=USERS, extensions=("SIZE 35000000", "AUTH PLAIN LOGIN"))
    steps = run(sink, upstream(ca_file, username="anna", password="secret"))
    assert states(steps) == [
        ("Name", "ok"),
        ("Connection", "ok"),
        ("Greeting", "ok"),
        ("What it offers", "ok"),
        ("Encryption", "ok"),
        ("Log-in", "ok"),
        ("Sender", "ok"),
    ]
    assert is_fine(steps)
    assert f"{HOST} is 127.0.0.1" in step(steps, "Name").words
    assert "35 MB" in step(steps, "What it offers").words
    assert HOST in step(steps, "Encryption").words
    assert "Good Authority" in step(steps, "Encryption").words
    assert "days more. It is verified." in step(steps, "Encryption").words
    assert step(steps, "Log-in").words == "Logged in as anna (PLAIN)."
    assert "postmaster@example.org" in step(steps, "Sender").words
    assert sink.lines("MAIL") == ["MAIL FROM:<postmaster@example.org>"]
    assert sink.heard[-2:] == ["RSET", "QUIT"]
    assert not sink.taken
    assert not sink.lines("RCPT")
    assert "secret" not in str(steps)
    assert "AHNlY3JldA" not in str(steps), "nor in base64"


def test_tls_from_the_first_byte_comes_before_the_greeting(ca_file: str) -> None:
    """Implicit TLS: the same steps, in the order in which they happen."""
    steps = run(SinkMx(tls=server_tls(), is_implicit_tls=True), upstream(ca_file, tls="implicit"))
    names = ["Name", "Connection", "Encryption", "Greeting", "What it offers", "Sender"]
    assert states(steps) == [(name, "ok") for name in names]


Case = tuple[Callable[[], SinkMx | None], dict[str, Any], str, str, str]
CASES: dict[str, Case] = {
    "nobody listens": (lambda: None, {"port": 1}, "Connection", "nothing listens", "587"),
    "no starttls": (SinkMx, {}, "Encryption", "does not offer STARTTLS", "465"),
    "tls first at a starttls port": (
        lambda: SinkMx(tls=server_tls(), is_implicit_tls=True),
        {},
        "Greeting",
        "waits for TLS from the first byte",
        "TLS from the first byte",
    ),
    "in the clear at a tls port": (
        SinkMx,
        {"tls": "implicit"},
        "Encryption",
        "greets in the clear",
        "STARTTLS",
    ),
    "silence": (
        lambda: SinkMx({"connect": HANG}),
        {},
        "Greeting",
        "nothing was said",
        "firewall",
    ),
    "closed at once": (lambda: SinkMx({"connect": CLOSE}), {}, "Greeting", "not look like a mail", "port"),
    "no smtp": (
        lambda: SinkMx({"connect": b"HTTP/1.1 400 Bad Request\r\n\r\n"}),
        {},
        "Greeting",
        "not look like a mail",
        "port",
    ),
    "busy": (lambda: SinkMx({"connect": b"421 4.3.2 busy\r\n"}), {}, "Greeting", "421", "minutes"),
    "not wanted": (lambda: SinkMx({"connect": b"554 5.7.1 no\r\n"}), {}, "Greeting", "want us", "provider"),
    "another name": (
        lambda: SinkMx(tls=server_tls("mail.other.example")),
        {},
        "Encryption",
        f"for mail.other.example, by Good Authority: not for {HOST}",
        "perhaps mail.other.example",
    ),
    "nobody vouches": (
        lambda: SinkMx(tls=server_tls(authority=trustme.CA(organization_name="Who"))),
        {},
        "Encryption",
        "vouched for by nobody that we trust",
        "ca_file",
    ),
    "password": (
        lambda: SinkMx(tls=server_tls(), users=USERS, extensions=("AUTH PLAIN",)),
        {"username": "anna", "password": "wrong"},
        "Log-in",
        "not accepted: 535",
        "app password",
    ),
    "password, with the provider's own words": (
        lambda: SinkMx(tls=server_tls(), users=USERS, extensions=("AUTH PLAIN",)),
        {"username": "anna", "password": "wrong", "hint": "Ask the lighthouse."},
        "Log-in",
        "not accepted: 535",
        "Ask the lighthouse.",
    ),
    "no log-in": (
        lambda: SinkMx(tls=server_tls()),
        {"username": "anna", "password": "secret"},
        "Log-in",
        "offers no log-in",
        "TLS",
    ),
    "log-in first": (
        lambda: SinkMx({"MAIL": b"530 5.7.0 log in\r\n"}, tls=server_tls()),
        {},
        "Sender",
        "530",
        "user name",
    ),
    "not our sender": (
        lambda: SinkMx(
            {"MAIL": b"550 5.7.1 no\r\n"}, tls=server_tls(), users=USERS, extensions=("AUTH PLAIN",)
        ),
        {"username": "anna", "password": "secret"},
        "Sender",
        "does not take mail from <postmaster@example.org>",
        "your own address",
    ),
    "lost in between": (
        lambda: SinkMx({"EHLO": CLOSE}),
        {},
        "What it offers",
        "closed the connection",
        "Try again",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_did_not_work_says_what_to_do(name: str, ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step has failed, with advice; those before it are fine, those behind it were not tried."""
    monkeypatch.setattr(upstream_talk, "STEP_S", 1.0)
    monkeypatch.setattr(upstream_test, "STEP_S", 1.0)
    make, more, at, words, advice = CASES[name]
    steps = run(make(), upstream(ca_file, **more))
    failed = [each for each in steps if each.state == "failed"]
    assert [each.name for each in failed] == [at], steps
    assert words in failed[0].words, failed[0]
    assert advice in failed[0].advice, failed[0]
    behind = [each.state for each in steps[steps.index(failed[0]) + 1 :]]
    assert set(behind) <= {"not tried"}, steps
    assert not is_fine(steps)
    assert "secret" not in str(steps)


@pytest.mark.parametrize(
    ("resolver", "words", "advice"),
    [
        (FakeResolver(hosts={HOST: NXDOMAIN}), "does not exist", "spelled"),
        (FakeResolver(hosts={HOST: SERVFAIL}), "SERVFAIL", "try again"),
        (FakeResolver(hosts={HOST: UNREACHABLE}), "off line", "the line"),
        (FakeResolver(hosts={HOST: []}), "no address", "spelled"),
    ],
)
def test_a_name_that_leads_nowhere(resolver: FakeResolver, words: str, advice: str) -> None:
    """A wrong name, a name server in trouble and no line are told apart."""
    steps = run(None, upstream(), resolver)
    assert steps[0].state == "failed"
    assert words in steps[0].words
    assert advice in steps[0].advice
    assert {each.state for each in steps[1:]} == {"not tried"}


def test_off_line_nothing_is_tried_but_what_is_near() -> None:
    """The link is down: that is said, and no name server is asked. A server on the own network is tried."""
    resolver = FakeResolver(hosts={HOST: ["127.0.0.1"]})
    steps = run(None, upstream(), resolver, is_offline=True)
    assert (steps[0].name, steps[0].state) == ("Line", "failed")
    assert not resolver.asked
    near = run(SinkMx(), upstream(host="127.0.0.1", tls="none"), is_offline=True)
    assert is_fine(near)


def test_without_a_host_it_says_so() -> None:
    """Nothing is set: no step is tried."""
    steps = run(None, upstream(host=""))
    assert steps[0].words == "No SMTP Host is set."


def test_opportunistic_goes_on_with_a_certificate_that_nobody_trusts_and_says_so() -> None:
    """Mail would go, so no step has failed; what verification would say stands there as a note."""
    sink = SinkMx(tls=server_tls(authority=trustme.CA(organization_name="Who")))
    steps = run(sink, upstream(tls="opportunistic"))
    found = step(steps, "Encryption")
    assert found.state == "note"
    assert "not verified" in found.words
    assert "mail goes all the same" in found.words
    assert step(steps, "Sender").state == "ok"


def test_opportunistic_goes_on_in_the_clear_where_tls_does_not_come_about() -> None:
    """As a delivery does (RFC 7435); the password of a log-in does not go that way but on loopback."""
    broken = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # no certificate: every handshake fails
    steps = run(SinkMx(tls=broken), upstream(tls="opportunistic"))
    assert "mail would go in the clear" in step(steps, "Encryption").words
    assert step(steps, "Sender").state == "ok"


def test_a_certificate_that_ends_soon_is_noted(ca_file: str) -> None:
    """It works today, and somebody should know of next week."""
    import datetime

    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3, hours=1)
    steps = run(SinkMx(tls=server_tls(not_after=soon)), upstream(ca_file))
    found = step(steps, "Encryption")
    assert (found.state, found.advice[:8]) == ("note", "Who runs")
    assert "holds 3 days more" in found.words


def test_an_expired_certificate_is_told_from_a_wrong_clock(ca_file: str) -> None:
    """Expired: who runs it must renew; not yet: our clock."""
    import datetime

    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    old = server_tls(not_before=now - 9 * day, not_after=now - 2 * day)
    assert "ended 2 days ago" in step(run(SinkMx(tls=old), upstream(ca_file)), "Encryption").words
    early = server_tls(not_before=now + 2 * day, not_after=now + 9 * day)
    found = step(run(SinkMx(tls=early), upstream(ca_file)), "Encryption")
    assert "clock of this machine" in found.advice


def test_the_password_goes_to_nobody_whose_certificate_is_not_good(ca_file: str) -> None:
    """Security demands verification: the certificate is looked at on a second connection, which says not one
    word of ours behind the handshake."""
    sink = SinkMx(tls=server_tls("mail.other.example"), users=USERS, extensions=("AUTH PLAIN",))
    run(sink, upstream(ca_file, username="anna", password="secret"))
    assert sink.heard == ["EHLO mail.example.org", "STARTTLS"] * 2


def test_the_next_address_is_tried_when_the_first_does_not_answer() -> None:
    """Two addresses, one dead: the steps go on with the other, and the first is mentioned."""
    resolver = FakeResolver(hosts={HOST: ["127.0.0.9", "127.0.0.1"]})
    steps = run(SinkMx(), upstream(tls="none"), resolver)
    assert step(steps, "Connection").state == "note"
    assert "127.0.0.9" in step(steps, "Connection").words
    assert step(steps, "Sender").state == "ok"


def test_the_mail_hosts_of_a_domain_by_mx() -> None:
    """As mail by MX goes: the best host that answers, encrypted when it can, no log-in."""

    async def go() -> tuple[list[Step], SinkMx]:
        async with SinkMx(tls=server_tls("mx.example.net")) as sink:
            resolver = FakeResolver(
                mx_table={"example.net": [(20, "mx.example.net"), (10, "dead.example.net")]},
                hosts={"mx.example.net": ["127.0.0.1"], "dead.example.net": ["127.0.0.9"]},
            )
            way = upstream(tls="opportunistic", port=sink.port)
            return await upstream_test.test_mx("example.net", way, resolver), sink

    steps, sink = asyncio.run(go())
    assert steps[0].words == "Mail for example.net goes to dead.example.net, mx.example.net."
    assert is_fine(steps)
    assert sink.heard[-2:] == ["RSET", "QUIT"]


def test_a_domain_without_mail_hosts() -> None:
    """It does not exist, or takes no mail."""
    null = FakeResolver(mx_table={"example.net": [(0, "")]})
    steps = asyncio.run(upstream_test.test_mx("example.net", upstream(), null))
    assert (steps[0].name, steps[0].state) == ("Mail hosts", "failed")
    assert "takes no mail" in steps[0].words


def test_a_slow_server_does_not_hold_it_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps together have an end, whatever the server does."""
    monkeypatch.setattr(upstream_test, "TOTAL_S", 0.5)
    steps = run(SinkMx({"EHLO": HANG}), upstream(tls="none"))
    assert (steps[0].name, steps[0].state) == (upstream_steps.LINE, "failed")
