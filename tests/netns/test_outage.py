"""An outage costs nothing: no attempt, no notice, no bounce, no deadline; through restarts and kills, with the
cable out, in silence, with a DNS that lies meanwhile. What fails on line counts as ever."""

import time
from pathlib import Path
from typing import Final

import pytest

from cmail.app.worker_confirm import BELIEVED_S
from tests.support.cut_house import (
    ANNA,
    SOON_S,
    FarSink,
    attempts,
    give,
    serve,
    status,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.fake_dns import HANG, NXDOMAIN, SERVFAIL, FakeDnsServer
from tests.support.house import RunningCmail, wait_for
from tests.support.netns import FAR, Net, There

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

LIFETIME_S: Final = 3.0
SHORT: Final = (
    '[queue]\nlifetime = "3s"\nretry = ["1s"]\ndelay_notice = "1s"\n[limits]\ndeliver_by = "1s"\n'
    '[link]\nprobe_every = "5s"\n'
)
WISHES: Final = {"plain": (), "notify": ("BY=3;N",), "return": ("BY=3;R",)}


def give_all(net: Net, cmail: RunningCmail) -> None:
    """A message of each kind of deadline."""
    for name, said in WISHES.items():
        give(net, cmail, name, *said, to=f"{name}@example.net")


def assert_untouched(cmail: RunningCmail, *others: str) -> None:
    """None was tried, nobody was told anything."""
    assert attempts(cmail) == {f"{name}@example.net": 0 for name in (*WISHES, *others)}
    assert not cmail.mailbox(ANNA)


def let_pass(seconds: float) -> None:
    """What must not happen needs time in which it could."""
    time.sleep(seconds)


def test_many_lifetimes_with_the_cable_out(net: Net, tmp_path: Path) -> None:
    """Four times its lifetime, a restart and a kill -9 in it: each message arrives once within a moment of
    link-up, and nobody was told anything. Then what is refused on line is told of and given up."""
    peer = FarSink(extensions=("DELIVERBY",))
    with There(net, peer) as there, serve(net, tmp_path, SHORT) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        net.cut("wire")
        wait_until_down(cmail)
        began = time.monotonic()
        give_all(net, cmail)
        let_pass(LIFETIME_S + 1)
        assert_untouched(cmail)
        cmail.stop()
        cmail.start()
        wait_until_down(cmail)
        let_pass(LIFETIME_S + 1)
        assert_untouched(cmail)
        cmail.kill()
        cmail.start()
        wait_until_down(cmail)
        let_pass(max(LIFETIME_S + 1, began + 4 * LIFETIME_S - time.monotonic()))
        assert_untouched(cmail)
        back = time.monotonic()
        net.join("wire")
        wait_until_taken(peer, len(WISHES), "all of them to arrive")
        late = max(peer.came) - back
        print(f"all delivered {late * 1000:.0f} ms after link-up")
        assert late < SOON_S
        wait_until_empty(cmail)
        assert sorted(peer.subjects()) == sorted(WISHES) and not cmail.mailbox(ANNA)
        there.call(lambda: peer.script.update(MAIL=b"451 4.3.0 not now\r\n"))  # type: ignore[attr-defined]
        give(net, cmail, "refused")
        told = b"".join(cmail.wait_for_mail(ANNA, 2))
        assert b"Action: delayed" in told and b"Action: failed" in told


def test_many_lifetimes_of_silence(net: Net, tmp_path: Path) -> None:
    """The wire has carrier and carries nothing: what finds that out, and what comes when it is known, waits two
    lifetimes untouched, over a kill -9, and goes as soon as the probe gets through."""
    peer = FarSink(extensions=("DELIVERBY",))
    with There(net, peer), serve(net, tmp_path, SHORT) as cmail:
        net.silence("wire")
        give(net, cmail, "finder", to="finder@example.net", sender="")
        assert wait_until_down(cmail).startswith("nothing answers: ")
        give_all(net, cmail)
        let_pass(LIFETIME_S + 1)
        assert_untouched(cmail, "finder")
        cmail.kill()
        cmail.start()
        assert wait_until_down(cmail).startswith("nothing answers: ")
        let_pass(LIFETIME_S + 1)
        assert_untouched(cmail, "finder")
        back = time.monotonic()
        net.speak("wire")
        wait_until_taken(peer, len(WISHES) + 1, "all of them to arrive")
        print(f"all delivered {max(peer.came) - back:.3f} s after the silence")
        wait_until_empty(cmail)
        assert not cmail.mailbox(ANNA)


def by_mx(dns: str, host: str = "") -> str:
    """Settings of delivery by MX, asking this server; `host` takes what no mail host takes."""
    upstream = f'host = "{host}"\nport = 2525\n' if host else ""
    return (
        f'\n[smtp]\ndelivery = "mx"\n{upstream}[smtp.advanced]\ntimeout = "2s"\noutbound_port = 2525\n'
        f'[dns]\nservers = ["{dns}:53"]\n'
    )


RECORDS: Final[dict[tuple[str, str], list[str] | str]] = {
    ("example.net", "MX"): ["10 mx.example.net."],
    ("mx.example.net", "A"): [FAR],
}


def test_the_dns_is_beyond_the_link(net: Net, tmp_path: Path) -> None:
    """By MX: with the cable out nothing is asked, lifetimes pass; then it is asked and mail goes at once."""
    peer, names = FarSink(), FakeDnsServer(dict(RECORDS), host=FAR, port=53)
    with There(net, peer, names), serve(net, tmp_path, SHORT, by_mx(FAR)) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        net.cut("wire")
        wait_until_down(cmail)
        give(net, cmail, "by MX")
        let_pass(2 * LIFETIME_S)
        assert attempts(cmail) == {"bob@example.net": 0} and not names.asked and not cmail.mailbox(ANNA)
        back = time.monotonic()
        net.join("wire")
        wait_until_taken(peer, 1, "it to arrive")
        print(f"asked for and delivered {(peer.came[0] - back) * 1000:.0f} ms after link-up")
        assert peer.came[0] - back < SOON_S
        assert not cmail.mailbox(ANNA)


@pytest.mark.parametrize("lie", [NXDOMAIN, SERVFAIL, HANG])
def test_a_dns_that_lies_while_the_cable_is_out(net: Net, tmp_path: Path, lie: str) -> None:
    """The DNS of the router on this side was asked before the cut and answers after it, as routers do who
    have nobody to ask: no fault of the recipient. It does not say so to mail that comes later either."""
    peer, names = FarSink(), FakeDnsServer({("example.net", "MX"): HANG}, host="127.0.0.1", port=53)
    upstream = by_mx("127.0.0.1")
    with There(net, peer), There(net, names, is_here=True), serve(net, tmp_path, SHORT, upstream) as cmail:
        give(net, cmail, "asked before")
        wait_for(lambda: names.asked, "the question")
        net.cut("wire")
        wait_until_down(cmail)
        names.records = {("example.net", "MX"): lie}
        give(net, cmail, "comes later", to="eve@example.net")
        let_pass(2 * LIFETIME_S)
        assert attempts(cmail) == {"bob@example.net": 0, "eve@example.net": 0}
        assert not cmail.mailbox(ANNA)
        names.records = dict(RECORDS)
        net.join("wire")
        wait_until_taken(peer, 2, "both to arrive")
        wait_until_empty(cmail)
        assert not cmail.mailbox(ANNA)


def test_a_router_that_has_lost_the_internet(net: Net, tmp_path: Path) -> None:
    """Carrier, address and route are as ever, but behind the router there is nothing, and its DNS says that
    no name exists. With a host that can be probed nothing bounces for it, and soon nothing is tried; while
    there is an Internet a name that does not exist is believed."""
    domains = ("one.example", "two.example", "three.example")
    good: dict[tuple[str, str], list[str] | str] = {
        ("mx.example.net", "A"): [FAR],
        **{(domain, "MX"): ["10 mx.example.net."] for domain in domains},
    }
    peer, names = FarSink(), FakeDnsServer(dict(good), host="127.0.0.1", port=53)
    more = '[queue]\nretry = ["1s"]\n[link]\nprobe_every = "5s"\n'
    upstream = by_mx("127.0.0.1", FAR)
    with There(net, peer), There(net, names, is_here=True), serve(net, tmp_path, more, upstream) as cmail:
        give(net, cmail, "no such name", to="bob@nowhere.example")
        assert b"nowhere.example does not exist" in cmail.wait_for_mail(ANNA)[0]
        wait_until_empty(cmail)
        net.lose_uplink()
        time.sleep(BELIEVED_S)  # what a probe has just seen is not asked for again
        names.records = {(domain, "MX"): NXDOMAIN for domain in domains}
        for domain in domains:
            give(net, cmail, domain, to=f"bob@{domain}")
        wait_until_down(cmail)
        let_pass(2)
        assert attempts(cmail) == {f"bob@{domain}": 0 for domain in domains}
        assert len(cmail.mailbox(ANNA)) == 1
        names.records = good
        net.find_uplink()
        wait_until_taken(peer, 3, "all to arrive")
        wait_until_empty(cmail)
        assert len(cmail.mailbox(ANNA)) == 1


def kept(cmail: RunningCmail) -> str:
    """What the link process keeps over restarts."""
    file = cmail.data / "link.json"
    return file.read_text() if file.exists() else ""


@pytest.mark.parametrize("lie", [NXDOMAIN, SERVFAIL])
def test_a_dns_that_knows_nothing_any_more_and_no_probe(net: Net, tmp_path: Path, lie: str) -> None:
    """By MX, with nothing that the settings would have probed: the line is up and the DNS of the router denies or
    fails all that it knew. No attempt is counted, nothing bounces, through a restart; when it is back all goes within
    seconds. What does not exist is returned while the DNS knows what it did."""
    domains = ("one.example", "two.example")
    good: dict[tuple[str, str], list[str] | str] = {
        **RECORDS,
        ("nowhere.example", "MX"): NXDOMAIN,
        **{(domain, "MX"): ["10 mx.example.net."] for domain in domains},
    }
    bad = dict.fromkeys(good, lie) | {(name, "MX"): lie for name, _ in good}
    peer, names = FarSink(), FakeDnsServer(dict(good), ttl=1, host="127.0.0.1", port=53)
    more = '[queue]\nretry = ["5m"]\n'
    upstream = by_mx("127.0.0.1")
    with There(net, peer), There(net, names, is_here=True), serve(net, tmp_path, more, upstream) as cmail:
        give(net, cmail, "first")
        wait_until_taken(peer, 1, "the first")
        wait_for(lambda: "example.net" in kept(cmail), "where mail went to be kept")
        give(net, cmail, "no such name", to="bob@nowhere.example")
        assert b"nowhere.example does not exist" in cmail.wait_for_mail(ANNA)[0]
        names.records = dict.fromkeys(bad, lie)
        for domain in domains:
            give(net, cmail, domain, to=f"bob@{domain}")
        let_pass(3)
        assert attempts(cmail) == {f"bob@{domain}": 0 for domain in domains}
        cmail.stop()
        cmail.start()
        let_pass(3)
        assert attempts(cmail) == {f"bob@{domain}": 0 for domain in domains}
        assert len(cmail.mailbox(ANNA)) == 1
        names.records = good
        back = time.monotonic()
        wait_until_taken(peer, 3, "both to arrive")
        print(f"after {time.monotonic() - back:.1f} s")
        wait_until_empty(cmail)
        assert len(cmail.mailbox(ANNA)) == 1


@pytest.mark.parametrize("lie", [NXDOMAIN, SERVFAIL])
def test_a_dns_that_does_not_find_the_host_of_the_settings(net: Net, tmp_path: Path, lie: str) -> None:
    """The line is up, a server that has just started never heard where its upstream server is, and the DNS denies
    it or fails: no attempt is counted, though the next would be in five minutes, it is said why, and within
    seconds of the first good answer all goes."""
    host = "smtp.isp.example"
    peer, names = FarSink(), FakeDnsServer({(host, kind): lie for kind in ("A", "AAAA")}, host=FAR, port=53)
    more = '[queue]\nretry = ["5m"]\n'
    upstream = f'\n[smtp]\nhost = "{host}"\nport = 2525\n[dns]\nservers = ["{FAR}:53"]\n'
    with There(net, peer, names), serve(net, tmp_path, more, upstream) as cmail:
        for name in ("one", "two"):
            give(net, cmail, name, to=f"{name}@example.net")
        wait_for(lambda: all(host in row["reason"] for row in cmail.queue()), "what is wrong to be said")
        let_pass(3)
        assert attempts(cmail) == {"one@example.net": 0, "two@example.net": 0}
        assert len(names.asked) < 60, "one question for all that waits"
        names.records = {(host, "A"): [FAR]}
        wait_until_taken(peer, 2, "both to arrive")
        wait_until_empty(cmail)
        assert not cmail.mailbox(ANNA)


@pytest.mark.parametrize("lie", [NXDOMAIN, SERVFAIL])
def test_where_the_host_of_the_settings_was_is_known_over_a_restart(
    net: Net, tmp_path: Path, lie: str
) -> None:
    """A server that starts while the DNS denies its upstream server, or fails, goes by what the link process keeps;
    each worker is told of it."""
    host = "smtp.isp.example"
    peer, names = FarSink(), FakeDnsServer({(host, "A"): [FAR]}, ttl=5, host=FAR, port=53)
    more = '[queue]\nretry = ["5m"]\n'
    upstream = f'\n[smtp]\nhost = "{host}"\nport = 2525\n[dns]\nservers = ["{FAR}:53"]\n'
    with There(net, peer, names), serve(net, tmp_path, more, upstream) as cmail:
        wait_for(lambda: FAR in kept(cmail), "where it is to be kept")
        cmail.stop()
        names.records = {(host, kind): lie for kind in ("A", "AAAA")}
        cmail.start()
        for count in range(4):
            give(net, cmail, f"{count}")
        wait_until_taken(peer, 4, "all to arrive")
        wait_until_empty(cmail)
        assert not cmail.mailbox(ANNA)


def test_a_router_without_an_uplink_and_no_probe(net: Net, tmp_path: Path) -> None:
    """The same, and behind the router there is nothing: that is off line, said in words; over when it is back."""
    lies: dict[tuple[str, str], list[str] | str] = dict.fromkeys(
        [*RECORDS, ("one.example", "MX"), ("mx.example.net", "MX")], NXDOMAIN
    )
    good = {**RECORDS, ("one.example", "MX"): ["10 mx.example.net."]}
    peer, names = FarSink(), FakeDnsServer(dict(good), ttl=1, host="127.0.0.1", port=53)
    upstream = by_mx("127.0.0.1").replace("[smtp.advanced]\n", '[smtp.advanced]\nidle = "1s"\n')
    more = '[queue]\nretry = ["5m"]\n'
    with There(net, peer), There(net, names, is_here=True), serve(net, tmp_path, more, upstream) as cmail:
        give(net, cmail, "first")
        wait_until_taken(peer, 1, "the first")
        wait_for(lambda: FAR in kept(cmail), "where mail went to be kept")
        net.lose_uplink()
        names.records = lies
        give(net, cmail, "second", to="bob@one.example")
        assert "none of the names that mail went to" in wait_until_down(cmail)
        assert attempts(cmail) == {"bob@one.example": 0} and not cmail.mailbox(ANNA)
        names.records = good
        net.find_uplink()
        wait_until_taken(peer, 2, "it to arrive")
        wait_until_empty(cmail)
        assert not cmail.mailbox(ANNA)
