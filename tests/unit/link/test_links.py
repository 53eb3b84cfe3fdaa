"""Links: up, down or unknown by hand, kernel and probe; what may go over them; what outlives the process."""

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from cmail.link.judging import Hand, State
from cmail.link.links import Facts, Links, UnknownLinkError
from cmail.link.settings import LinkSettings, ViaSettings
from cmail.net.rtnetlink import Added, OwnAddress
from cmail.policy.orders import NO_LIMIT, NOTHING
from cmail.settings import ByteSize
from tests.support.fake_kernel import FakeKernel

NOW_S = 1_800_000_000.0
FIBRE = ViaSettings("fibre", ("eth0",))
SATELLITE = ViaSettings("satellite", ("wwan*",), use="small", rate=256)


def links(*vias: ViaSettings) -> Links:
    return Links(LinkSettings(via=vias))


def judged(made: Links, kernel: FakeKernel | None = None, upstream: str = "") -> str:
    """The state and why, of each."""
    if kernel is not None:
        made.show(kernel.facts(upstream))
    made.judge(1000)
    return "; ".join(f"{link.name} {link.verdict.state.value}: {link.verdict.why}" for link in made.all)


# The line: whatever the kernel has.


def test_a_machine_on_which_nothing_ever_was_delivers() -> None:
    """Loopback alone, no route: a container perhaps. Nothing is known, and that is not down."""
    made = links()
    assert judged(made, FakeKernel()) == "line unknown: there is no way to the Internet, and never was one"
    assert not made.outlook(NOW_S).is_down


def test_the_line_follows_carrier_and_route() -> None:
    """Once it had a way out it is down without carrier, without route, without device; and up again."""
    made, kernel = links(), FakeKernel().whole("eth0")
    assert judged(made, kernel) == "line up: mail goes by eth0"
    assert judged(made, kernel.device("eth0", carrier=False)) == "line down: eth0 has no carrier"
    assert made.outlook(NOW_S).is_down
    assert judged(made, kernel.device("eth0")) == "line up: mail goes by eth0"
    assert judged(made, kernel.no_route()) == "line down: there is no route to the Internet"
    assert judged(made, kernel.route("eth0")) == "line up: mail goes by eth0"


def test_a_way_to_the_upstream_server_is_enough() -> None:
    """No default route, but the kernel knows a way to where mail goes."""
    made, kernel = links(), FakeKernel().device("eth0").address("eth0").route("eth0", "10.20.0.0", 16)
    assert judged(made, kernel, "10.20.0.9") == "line up: mail goes by eth0"
    assert judged(made, kernel.no_route(), "10.20.0.9") == "line down: there is no route to the Internet"


def test_an_upstream_server_on_this_machine() -> None:
    """A proxy at an address of our own, or a name of /etc/hosts that leads to loopback: never down, whatever else is."""
    made, kernel = links(), FakeKernel().whole("eth0")
    judged(made, kernel)
    kernel.no_route()
    made.show(Facts(kernel.kernel, 1, None))
    assert judged(made) == "line up: the upstream server is on this machine"


def test_it_had_a_way_before_it_was_started() -> None:
    """Restarted while the cable is out: what is in the file says that there was a way."""
    before = links()
    judged(before, FakeKernel().whole("eth0"))
    after = links()
    after.resume(before.record())
    assert judged(after, FakeKernel()) == "line down: there is no route to the Internet"


def test_what_a_probe_found_wrong_outlives_a_restart() -> None:
    """Silence is seen by nobody else, and a probe takes its time to be sure: down at once, and in doubt, so
    that it is probed; whatever gets through then says up."""
    before, kernel = links(), FakeKernel().whole("eth0")
    judged(before, kernel)
    for _ in range(3):
        before.all[0].doubt.failed("no answer within 5 s")
    after = links()
    after.resume(before.record())
    assert judged(after, kernel) == "line down: nothing answers: no answer within 5 s"
    assert after.all[0].doubt.is_open
    after.all[0].doubt.answered()
    assert judged(after, kernel) == "line up: mail goes by eth0"
    nonsense: object
    for nonsense in ({}, 3, ""):
        other = links()
        other.resume({"links": {"line": {"wrong": nonsense}}})
        assert judged(other, kernel) == "line up: mail goes by eth0"


# Links with names.


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        (FakeKernel(), "there is no device eth0"),
        (FakeKernel().device("eth0", up=False), "eth0 is switched off"),
        (FakeKernel().device("eth0", carrier=False), "eth0 has no carrier"),
        (FakeKernel().device("eth0"), "eth0 has no address"),
        (FakeKernel().device("eth0").address("eth0", "169.254.3.4"), "eth0 has no address"),
        (FakeKernel().device("eth0").address("eth0"), "eth0 has no route to the Internet"),
        (
            FakeKernel().device("eth0").address("eth0").route("eth0", "10.20.0.0", 16),
            "eth0 has no route to the Internet",
        ),
    ],
)
def test_what_a_link_lacks(kernel: FakeKernel, why: str) -> None:
    """The first thing that is missing, in words."""
    assert judged(links(FIBRE), kernel, "192.0.2.25") == f"fibre down: {why}"


def test_a_route_to_the_upstream_server_makes_a_link() -> None:
    """Beyond its own network there need be nothing but where mail goes."""
    kernel = FakeKernel().device("eth0").address("eth0").route("eth0", "10.20.0.0", 16)
    assert judged(links(FIBRE), kernel, "10.20.0.9").startswith("fibre up")


def test_a_device_that_borrows_its_address() -> None:
    """Of loopback, as on a server that has one address and no network."""
    kernel = FakeKernel().device("eth0").route("eth0")
    kernel.kernel.apply([Added(OwnAddress(1, ip_address("127.0.0.1")))])
    assert judged(links(FIBRE), kernel) == "fibre down: eth0 has no address"
    kernel.kernel.apply([Added(OwnAddress(1, ip_address("203.0.113.5")))])
    assert judged(links(FIBRE), kernel).startswith("fibre up")


def test_one_device_of_several_is_enough() -> None:
    """wwan* means all of them; of two that are down the better one tells why."""
    made, kernel = links(SATELLITE), FakeKernel().device("wwan0", carrier=False).device("wwan1")
    assert judged(made, kernel) == "satellite down: wwan1 has no address"
    assert judged(made, kernel.address("wwan1").route("wwan1")).startswith("satellite up")


# By hand.


def test_down_by_hand_holds_until_up_by_hand() -> None:
    """Whatever the kernel shows; of one link, and of all."""
    kernel = FakeKernel().whole("eth0").whole("wwan0", "198.51.100.7")
    made = links(FIBRE, SATELLITE)
    made.say("satellite", Hand.DOWN)
    assert judged(made, kernel) == (
        "fibre up: eth0 has carrier, address and route; "
        "satellite down: it was taken down by hand (cmail link down)"
    )
    made.say("", Hand.DOWN)
    judged(made, kernel.device("eth0", carrier=False))
    judged(made, kernel.device("eth0"))
    assert {link.verdict.state for link in made.all} == {State.DOWN}
    made.say("", Hand.UP)
    judged(made, kernel)
    assert {link.verdict.state for link in made.all} == {State.UP}


def test_up_by_hand_against_the_kernel_holds_until_that_has_news() -> None:
    """Somebody knows better what the kernel does not see; but a cable that is pulled later is pulled."""
    made, kernel = links(FIBRE), FakeKernel().device("eth0").address("eth0")
    judged(made, kernel)
    made.say("fibre", Hand.UP)
    for _ in range(2):
        assert (
            judged(made, kernel) == "fibre up: it was said to be up, though eth0 has no route to the Internet"
        )
    assert judged(made, kernel.device("eth0", carrier=False)) == "fibre down: eth0 has no carrier"


def test_a_link_without_devices_is_told_by_hand_alone() -> None:
    """Unknown, and it delivers, until somebody has said."""
    made = links(ViaSettings("boat"))
    assert judged(made, FakeKernel()) == "boat unknown: nobody has said how it is"
    assert not made.outlook(NOW_S).is_down
    made.say("boat", Hand.DOWN)
    assert judged(made, FakeKernel()).startswith("boat down") and made.outlook(NOW_S).is_down
    made.say("boat", Hand.UP)
    assert judged(made, FakeKernel()) == "boat up: it was said to be up (cmail link up)"


def test_a_hook_names_a_device() -> None:
    """ip-down tells ppp0: the link of which it is the only device is down; a device that is made anew,
    as the next dial-up makes it, is another one."""
    made, kernel = links(ViaSettings("modem", ("ppp*",))), FakeKernel().whole("ppp0")
    made.say("ppp0", Hand.DOWN, kernel.kernel)
    assert judged(made, kernel) == "modem down: ppp0 was said to be down"
    made.say("ppp0", Hand.UP, kernel.kernel)
    assert judged(made, kernel).startswith("modem up")
    made.say("ppp0", Hand.DOWN, kernel.kernel)
    redialled = FakeKernel().device("eth9").whole("ppp0")
    assert judged(made, redialled).startswith("modem up")


def test_a_hook_names_a_device_where_no_link_is_named() -> None:
    """The line goes by another device then, or is down."""
    made, kernel = links(), FakeKernel().whole("eth0")
    judged(made, kernel)
    made.say("eth0", Hand.DOWN, kernel.kernel)
    assert judged(made, kernel) == "line down: eth0 was said to be down"
    assert judged(made, kernel.whole("eth1")) == "line up: mail goes by eth1"


def heard(made: Links, kernel: FakeKernel, name: str, hand: Hand) -> list[str]:
    """The links that a hook's word is of."""
    return [link.name for link in made.hear(name, hand, kernel.facts())]


def test_what_a_hook_says_holds_while_the_kernel_says_nothing() -> None:
    """A modem that dials on demand keeps its device while it has hung up. The device that then goes out of
    service and comes back is up, though nobody says so; so it is after a restart."""
    made, kernel = links(), FakeKernel().whole("ppp0")
    judged(made, kernel)
    assert heard(made, kernel, "ppp0", Hand.DOWN) == ["line"]
    assert judged(made, kernel) == "line down: ppp0 was said to be down"
    assert heard(made, kernel, "ppp0", Hand.UP) == ["line"] and made.all[0].doubt.is_open
    assert judged(made, kernel) == "line up: mail goes by ppp0"
    heard(made, kernel, "ppp0", Hand.DOWN)
    assert judged(made, kernel.device("ppp0", up=False)) == "line down: ppp0 has no carrier"
    assert judged(made, kernel.device("ppp0")) == "line up: mail goes by ppp0"
    heard(made, kernel, "ppp0", Hand.DOWN)
    after = links()
    after.resume(made.record())
    assert judged(after, kernel) == "line up: mail goes by ppp0"


def test_a_hook_does_not_overrule_the_kernel() -> None:
    """A device of our own network, by which no mail goes, says nothing of the line, up or down; one that has
    no route does not make one."""
    made, kernel = links(), FakeKernel().whole("eth0").device("eth1").address("eth1", "10.9.0.1")
    judged(made, kernel)
    assert not heard(made, kernel, "eth1", Hand.DOWN)
    assert judged(made, kernel) == "line up: mail goes by eth0"
    kernel.no_route()
    assert not heard(made, kernel, "eth1", Hand.UP) and not heard(made, kernel, "eth9", Hand.UP)
    assert judged(made, kernel) == "line down: there is no route to the Internet"


def test_a_hook_does_not_overrule_people() -> None:
    """The satellite was taken down by hand, and so was a device: the next dial-up changes neither."""
    made, kernel = links(FIBRE, SATELLITE), FakeKernel().whole("eth0").whole("wwan0")
    made.say("satellite", Hand.DOWN)
    made.say("eth0", Hand.DOWN, kernel.kernel)
    assert heard(made, kernel, "wwan0", Hand.UP) == ["satellite"]
    assert heard(made, kernel, "eth0", Hand.UP) == ["fibre"]
    assert judged(made, kernel) == (
        "fibre down: eth0 was said to be down; satellite down: it was taken down by hand (cmail link down)"
    )


def test_a_name_that_nobody_has_is_refused() -> None:
    """A slip of the hand must not take effect in silence."""
    made = links(FIBRE, SATELLITE)
    with pytest.raises(UnknownLinkError, match="links are: fibre, satellite"):
        made.say("fibr", Hand.DOWN, FakeKernel().kernel)
    with pytest.raises(UnknownLinkError):
        made.find("fibr")
    assert made.find("wwan3").name == "satellite"


# The probe.


def test_what_a_probe_finds_wrong_is_down_until_the_kernel_or_a_hand_begin_anew() -> None:
    """Silence is down; the cable that is pulled and put back is looked at anew, and counts as up."""
    made, kernel = links(), FakeKernel().whole("eth0")
    judged(made, kernel)
    doubt = made.all[0].doubt
    doubt.begin()
    for _ in range(3):
        doubt.failed("no answer")
    assert judged(made, kernel) == "line down: nothing answers: no answer"
    judged(made, kernel.device("eth0", carrier=False))
    assert judged(made, kernel.device("eth0")) == "line up: mail goes by eth0" and doubt.is_open
    doubt.trapped("a log-in page")
    assert judged(made, kernel) == "line down: a log-in page"
    made.say("", Hand.UP)
    assert judged(made, kernel) == "line up: mail goes by eth0"


# What may go.


def outlook(made: Links, kernel: FakeKernel, now_s: float = NOW_S) -> Any:
    judged(made, kernel)
    return made.outlook(now_s)


def test_the_policy_of_the_link_by_which_the_kernel_goes_holds() -> None:
    """Fibre takes all; when it is cut the kernel goes by satellite, which takes small and urgent mail."""
    made = links(FIBRE, SATELLITE)
    kernel = FakeKernel().whole("wwan0", "198.51.100.7").whole("eth0")
    found = outlook(made, kernel)
    assert (found.is_down, found.link, found.orders.size_max, found.orders.rate) == (
        False,
        "fibre",
        NO_LIMIT,
        0,
    )
    kernel.device("eth0", carrier=False)
    kernel.way = "wwan0"
    found = outlook(made, kernel)
    assert (found.is_down, found.link, found.orders.rate) == (False, "satellite", 256)
    assert (found.orders.size_max, found.orders.urgent_size_max) == (100 * 1024, NO_LIMIT)
    assert found.words == "satellite: mail up to 100 KiB and urgent"


def test_where_the_kernel_sends_by_a_link_that_is_down_nothing_goes() -> None:
    """Taken down by hand, or silent: mail would go there all the same, so it waits."""
    made = links(FIBRE, SATELLITE)
    kernel = FakeKernel().whole("wwan0", "198.51.100.7").whole("eth0")
    made.say("fibre", Hand.DOWN)
    found = outlook(made, kernel)
    assert found.is_down and found.words == ("fibre is down: it was taken down by hand (cmail link down)")


def test_where_nobody_can_say_the_most_generous_holds() -> None:
    """Mail goes by a tunnel that is of no link: over whichever of them it goes, one of them is up."""
    made = links(FIBRE, SATELLITE)
    kernel = FakeKernel().whole("wwan0", "198.51.100.7").whole("eth0").whole("tun0", "10.8.0.2")
    assert outlook(made, kernel).orders.size_max == NO_LIMIT
    found = outlook(made, kernel.device("eth0", carrier=False))
    assert not found.is_down and found.orders.size_max == 100 * 1024
    found = outlook(made, kernel.device("wwan0", carrier=False))
    assert found.is_down
    down = "fibre is down: eth0 has no carrier; satellite is down: wwan0 has no carrier"
    assert found.words == f"{down}; the kernel goes by tun0, of no [[link.via]]"
    assert outlook(made, kernel.device("tun0", carrier=False)).words == down


@pytest.mark.parametrize(
    ("via", "size_max", "urgent", "words"),
    [
        (ViaSettings("x", ("eth0",)), NO_LIMIT, NO_LIMIT, ""),
        (ViaSettings("x", ("eth0",), largest=ByteSize(5000)), 5000, 5000, "x: mail up to 4.9 KiB"),
        (ViaSettings("x", ("eth0",), use="urgent"), NOTHING, NO_LIMIT, "x: urgent mail"),
        (
            ViaSettings("x", ("eth0",), use="small", largest=ByteSize(2**20)),
            100 * 1024,
            2**20,
            "x: mail up to 100 KiB and urgent up to 1 MiB",
        ),
        (ViaSettings("x", ("eth0",), budget=ByteSize(16000)), 16000, 16000, "x: mail up to 15.6 KiB"),
    ],
)
def test_what_each_use_lets_through(via: ViaSettings, size_max: int, urgent: int, words: str) -> None:
    """The largest ordinary and urgent messages, and what is said of it."""
    found = outlook(links(via), FakeKernel().whole("eth0"))
    assert (found.orders.size_max, found.orders.urgent_size_max, found.words) == (size_max, urgent, words)
    assert not found.is_down


def test_a_link_that_nothing_may_use_is_as_good_as_down() -> None:
    """The link-up clock stands still."""
    found = outlook(links(ViaSettings("x", ("eth0",), use="nothing")), FakeKernel().whole("eth0"))
    assert found.is_down and found.words == "x: nothing may use it"


def test_a_budget_is_used_up_and_there_again_after_midnight() -> None:
    """Then it rests; a new day has a new one."""
    made, kernel = links(ViaSettings("x", ("eth0",), budget=ByteSize(16000))), FakeKernel().whole("eth0")
    made.all[0].use(15_000, NOW_S, None)
    assert outlook(made, kernel).orders.size_max == 1000
    made.all[0].use(1000, NOW_S, None)
    found = outlook(made, kernel)
    assert found.is_down and "rests until midnight" in found.words
    after = links(ViaSettings("x", ("eth0",), budget=ByteSize(16000)))
    after.resume(made.record())
    assert outlook(after, kernel).is_down, "a restart does not give it back"
    assert not outlook(after, kernel, NOW_S + 86400).is_down


def test_a_window_opens_and_closes() -> None:
    """Outside of it nothing goes, and it is said when it opens."""
    via = ViaSettings("x", ("eth0",), window=("00:00-00:01",))
    made, kernel = links(via), FakeKernel().whole("eth0")
    noon_s = NOW_S - NOW_S % 86400 + 43200
    found = outlook(made, kernel, noon_s)
    assert found.is_down and "its window begins" in found.words
    midnight = next(
        s for s in range(int(noon_s), int(noon_s) + 86400, 60) if not outlook(made, kernel, s).is_down
    )
    assert outlook(made, kernel, midnight + 60).is_down


def test_what_no_link_can_ever_carry() -> None:
    """256 kbit/s for half an hour are 57.6 MB; a link without limit carries all."""
    thin = ViaSettings("sat", ("eth0",), rate=256, window=("08:00-08:30",))
    made = links(thin)
    assert made.outlook(NOW_S).orders.size_ever == 256 * 125 * 1800
    assert made.outlook(NOW_S).orders.ever_words == "sat carries 54.9 MiB in its longest window"
    assert links(thin, FIBRE).outlook(NOW_S).orders.size_ever == NO_LIMIT
    made.apply(LinkSettings(via=(ViaSettings("s", rate=256),)), timedelta(minutes=10).total_seconds())
    assert made.outlook(NOW_S).orders.size_ever == 256 * 125 * 600


def test_other_settings_keep_what_is_known_of_a_link_with_the_same_name() -> None:
    """Down by hand is down after a reload; a new one begins anew."""
    made, kernel = links(FIBRE, SATELLITE), FakeKernel().whole("eth0")
    made.say("fibre", Hand.DOWN)
    made.apply(LinkSettings(via=(SATELLITE, ViaSettings("lte", ("eth1",)), FIBRE)))
    assert "fibre down: it was taken down by hand" in judged(made, kernel)
    assert [link.name for link in made.all] == ["satellite", "lte", "fibre"]


@pytest.mark.parametrize(
    "record",
    [
        {"links": 3, "devices_down": [], "had_way": 1, "upstream": ["x"]},
        {"links": {"fibre": 3}, "devices_down": {"a": "b"}, "upstream": 7},
        {"links": {"fibre": {"hand": "sideways", "day": 3, "used": -1}}},
    ],
)
def test_a_record_that_makes_no_sense_is_left_out(record: dict[str, object]) -> None:
    """Nothing is known then."""
    made = links(FIBRE)
    made.resume(record)
    assert made.all[0].hand is Hand.NOTHING and not made.had_way and made.upstream == ()


def test_the_file_of_before_has_the_state_of_all() -> None:
    """A server that was down by hand is down by hand after it was brought up to date."""
    made = links(FIBRE, SATELLITE)
    made.resume({"is_down": True, "down_ms": 0, "periods": 1, "changed_wall_ms": 5})
    assert all(link.hand is Hand.DOWN for link in made.all)
