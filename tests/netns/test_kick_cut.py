"""Kicks over a link that comes and goes: at each link-up, on through the plan, and again after a cut in the
middle of it or of the mail that it brings."""

import smtplib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.atrn_hub import AtrnHub, hub_context
from tests.support.cut_house import (
    SOON_S,
    FarSink,
    give,
    serve_both_ways,
    status,
    wait_until_down,
    wait_until_up,
)
from tests.support.gate import Gate
from tests.support.house import PATIENCE_S, RunningCmail, reachable, wait_for
from tests.support.netns import FAR, Net, There
from tests.support.sink_mx import SinkMx
from tests.support.trigger import FLOOD, HANG, Trigger

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

ANNA = "anna@example.org"
ETRN_PORT, HUB_PORT = 2526, 366


def step(place: Path, method: str, port: int, wait: str = "60s", **more: Any) -> str:
    """One [[link.kick]]; who logs in does it with the hub's password."""
    values: dict[str, Any] = {"method": method, "host": FAR, "port": port, "wait": wait, "repeat": 0, **more}
    if method == "atrn":
        password = reachable(place) / "hub-password"
        password.write_text("secret\n")
        password.chmod(0o600)
        values.update(username="site", password_file=str(password), tls="opportunistic")
    lines = (
        f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"'
        for key, value in values.items()
    )
    return "\n[[link.kick]]\n" + "\n".join(lines) + "\n"


def message(number: int, octets: int = 100) -> bytes:
    """One that Validation lets in."""
    head = (
        f"From: bert@example.net\r\nDate: Tue, 05 Jan 2027 10:00:00 +0000\r\nSubject: number {number}\r\n"
        f"Message-ID: <{number}@example.net>\r\n\r\n"
    )
    return head.encode() + (b"x" * 70 + b"\r\n") * max(1, octets // 72)


def post(net: Net, number: int) -> None:
    """The server that was kicked sends a message to our port 25."""

    def work() -> None:
        with smtplib.SMTP("10.1.0.1", 25, timeout=60) as client:
            client.sendmail("bert@example.net", [ANNA], message(number))

    net.outside(work)


def arrived(cmail: RunningCmail) -> Counter[str]:
    """How often each message is in the mailbox."""
    heads = [each.partition(b"Subject: number ")[2].partition(b"\n")[0] for each in cmail.mailbox(ANNA)]
    return Counter(head.decode() for head in heads)


def cut(net: Net, cmail: RunningCmail) -> None:
    """Until it is seen; it was seen to be there before, with whatever was done because of that."""
    wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
    net.cut("wire")
    wait_until_down(cmail)


def hub(messages: Sequence[bytes], **more: Any) -> AtrnHub:
    """On the far host, with STARTTLS, for AUTH is not said without."""
    return AtrnHub(messages, tls=hub_context(FAR)[0], host=FAR, **more)


@pytest.mark.parametrize("method", ["finger", "etrn", "atrn"])
def test_who_is_kicked_hears_of_us_at_link_up(net: Net, tmp_path: Path, method: str) -> None:
    """Nobody does while the cable is out; when it is back the primary domain is said at once, in the words of each
    method; and again the next time."""
    trigger, etrn = Trigger(), SinkMx(host=FAR, port=ETRN_PORT, script={"ETRN": b"250 2.0.0 sending\r\n"})
    odmr = hub([], port=HUB_PORT)
    ports = {"finger": 79, "etrn": ETRN_PORT, "atrn": HUB_PORT}

    def heard() -> list[str]:
        if method == "finger":
            return [line.decode() for line in trigger.heard]
        return etrn.lines("ETRN") if method == "etrn" else [each for each in odmr.heard if "ATRN" in each]

    said = {"finger": "example.org\r\n", "etrn": "ETRN example.org", "atrn": "ATRN example.org"}[method]
    plan = step(tmp_path, method, ports[method], "1s")
    with There(net, FarSink(), trigger, etrn, odmr), serve_both_ways(net, tmp_path, plan) as cmail:
        for _ in range(2):
            cut(net, cmail)
            before = len(heard())
            net.join("wire")
            wait_for(lambda: len(heard()) > before, "the kick")  # noqa: B023
            late_ms = time.time() * 1000 - status(cmail)["links"][0]["since_ms"]
            assert late_ms < 1000 * SOON_S, "it is 50 ms on a machine that has nothing else to do"
            assert heard()[before:] == [said]


def test_the_connection_turns_round_at_link_up(net: Net, tmp_path: Path) -> None:
    """ATRN: the mail comes over the connection that we opened, under its TLS, and that answers the kick."""
    odmr = hub([], port=HUB_PORT)
    with (
        There(net, FarSink(), odmr),
        serve_both_ways(net, tmp_path, step(tmp_path, "atrn", HUB_PORT)) as cmail,
    ):
        cut(net, cmail)
        odmr.messages, odmr.turned = [message(1), message(2, 200_000)], 0
        net.join("wire")
        got = cmail.wait_for_mail(ANNA, 2)
        assert arrived(cmail) == {"1": 1, "2": 1} and all(b"with ESMTPS" in each for each in got)
        assert odmr.turned == 1 and odmr.is_encrypted
        assert "kick: answered" in cmail.wait_for_log("kick: answered")


def test_the_plan_goes_on_when_no_mail_comes(net: Net, tmp_path: Path) -> None:
    """The first says yes, the second says what nobody understands, the third never stops talking: each has its time,
    and the last one brings mail. Nothing of what they said does harm."""
    plain, garbage, flood = (
        Trigger(),
        Trigger(b"\x1b[2J\0\xff\r\n" * 40, port=7001),
        Trigger(FLOOD, port=7002),
    )
    odmr = hub([], port=HUB_PORT)
    plan = step(tmp_path, "finger", 79, "1s") + step(tmp_path, "string", 7001, "1s", text="go")
    plan += step(tmp_path, "finger", 7002, "1s") + step(tmp_path, "atrn", HUB_PORT)
    with There(net, FarSink(), plain, garbage, flood, odmr), serve_both_ways(net, tmp_path, plan) as cmail:
        cut(net, cmail)
        for each in (plain, garbage, flood):
            each.heard.clear()
        odmr.messages, before = [message(1)], cmail.log().count("no mail came within 1 s")
        net.join("wire")
        cmail.wait_for_mail(ANNA, 1)
        assert [len(each.heard) for each in (plain, garbage, flood)] == [1, 1, 1]
        log = cmail.wait_for_log("kick: answered: a message has come")
        assert log.count("no mail came within 1 s") == before + 3
        assert "\x1b" not in log and "\0" not in log and max(map(len, log.splitlines())) < 1000
        assert flood.flooded < 20_000_000


def test_a_cable_that_is_pulled_in_the_middle_of_a_plan(net: Net, tmp_path: Path) -> None:
    """While we wait for mail, and while the server hangs: the plan ends there, the next step is not taken; at the next
    link-up it begins anew, at once, and mail answers it."""
    first, second = Trigger(), Trigger(port=7001)
    plan = step(tmp_path, "finger", 79) + step(tmp_path, "finger", 7001)
    with There(net, FarSink(), first, second), serve_both_ways(net, tmp_path, plan) as cmail:
        cut(net, cmail)
        first.heard.clear()
        before = cmail.log().count("said: yes")
        net.join("wire")
        cmail.wait_for_log("said: yes", before + 1)
        cut(net, cmail)
        cmail.wait_for_log("kick: the link is down, the kick ends")
        first.answer = HANG
        net.join("wire")
        wait_for(lambda: len(first.heard) == 2, "the kick of the next link-up")
        cut(net, cmail)
        first.answer = b"yes\r\n"
        net.join("wire")
        wait_for(lambda: len(first.heard) == 3, "the kick of the link-up after that")
        cmail.wait_for_log("said: yes", before + 2)
        wait_until_up(cmail)
        post(net, 1)
        cmail.wait_for_log("kick: answered: a message has come")
        assert arrived(cmail) == {"1": 1} and not second.heard


SENT = [message(0), message(1, 300_000), message(2)]
BEHIND = 3660  # the hub itself, behind its gate


@pytest.mark.parametrize(
    ("octets", "word", "in_doubt", "how"),
    [
        (150_000, b"", set(), "pulled"),
        (150_000, b"", set(), "silent"),
        (-1, b"queued as", {"0"}, "pulled"),
    ],
    ids=["in the content", "in the content, in silence", "before our reply to it"],
)
def test_a_cut_in_the_middle_of_a_turned_connection(
    net: Net, tmp_path: Path, octets: int, word: bytes, in_doubt: set[str], how: str
) -> None:
    """What the hub has heard that we have is not sent again; the rest comes over the connection of the next link-up.
    Twice comes the one of which it could not hear, and no other."""
    context, authority = hub_context(FAR)
    trusted = reachable(tmp_path) / "ca.pem"
    trusted.write_bytes(authority.cert_pem.bytes())
    trusted.chmod(0o644)
    odmr, gate = AtrnHub(port=BEHIND), Gate(BEHIND, port=HUB_PORT, tls=context)
    plan = step(tmp_path, "atrn", HUB_PORT).replace("opportunistic", "implicit")
    with There(net, FarSink(), odmr, gate) as there:
        with serve_both_ways(net, tmp_path, plan + f'\n[tls]\nca_file = "{trusted}"\n') as cmail:
            cut(net, cmail)
            odmr.messages, odmr.turned = SENT, 0
            gate.octets, gate.word = octets, word
            net.join("wire")
            assert gate.held.wait(PATIENCE_S), cmail.log()
            if how == "pulled":
                cut(net, cmail)
            else:
                net.silence("wire")
                give(net, cmail)
                wait_until_down(cmail)
            there.call(gate.lose)
            if how == "pulled":
                net.join("wire")
            else:
                net.speak("wire")
            wait_for(lambda: set(arrived(cmail)) == {"0", "1", "2"}, "all of it")
            wait_for(lambda: odmr.acknowledged == [0, 1, 2], "the hub to hear of it")
            assert arrived(cmail) == {"0": 1, "1": 1, "2": 1} | dict.fromkeys(in_doubt, 2)
            assert odmr.turned == 2
