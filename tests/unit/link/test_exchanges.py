"""Exchanges: what begins one, what ends it, and what the plan says; on turned clocks."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cmail.link.exchanges import Exchanges, Now, longest_s
from cmail.link.settings import ExchangeSettings
from cmail.link.waiting import Waiting

ZONE = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)


def at(text: str) -> float:
    return datetime.fromisoformat(f"2026-01-{text}").replace(tzinfo=ZONE).timestamp()


T0 = at("30 12:00")


def waiting(messages: int = 0, urgent: int = 0, admitted: int | None = None, oldest: float = 0.0) -> Waiting:
    return Waiting(
        messages=messages,
        urgent=urgent,
        admitted_messages=messages if admitted is None else admitted,
        oldest_ms=int(oldest * 1000),
    )


class Plan:
    """Exchanges as the link process runs them: what is to begin begins, what is to end ends."""

    def __init__(self, settings: ExchangeSettings, *, is_batch: bool = False, now_s: float = T0) -> None:
        self.exchanges = Exchanges(settings, is_batch=is_batch, now_s=now_s, zone=ZONE)

    def look(
        self,
        now_s: float,
        waits: Waiting | None = None,
        *,
        is_down: bool = False,
        octets: int = 0,
        is_working: bool = False,
        spent: str = "",
    ) -> str:
        """What happens now: "+why" for one that begins, "-why" for one that ends, both, or nothing."""
        now, said = Now(now_s, is_down, waits, octets, is_working, spent), ""
        if why := self.exchanges.why_end(now):
            said += f"-{why}"
            self.exchanges.end(now)
        if why := self.exchanges.why_begin(now):
            said += f"+{why}"
            self.exchanges.begin(why, now)
        return said


def test_without_a_plan_one_goes_on_while_the_link_is_up() -> None:
    """Each link-up period is one of the history; mail never waits for it."""
    plan = Plan(ExchangeSettings())
    assert plan.look(T0) == "+the server was started" and plan.exchanges.is_open
    assert plan.look(T0 + 5, is_down=True) == "-the link went down" and plan.exchanges.is_open
    assert plan.look(T0 + 9, is_down=True) == ""
    assert plan.look(T0 + 10) == "+the link came up"
    assert plan.look(T0 + 1e6, waiting(3)) == ""


@pytest.mark.parametrize(
    "settings", [ExchangeSettings(), ExchangeSettings(messages=5)], ids=["always", "planned"]
)
def test_a_link_that_was_away_for_a_moment(settings: ExchangeSettings) -> None:
    """It is down and up again before anybody has looked: a link-up like any other, with one exchange for each."""
    plan = Plan(settings)
    plan.look(T0)
    for turn in (1, 2):
        plan.exchanges.went_down()
        ended = "-the link went down" if plan.exchanges.current is not None else ""
        assert plan.look(T0 + turn) == ended + "+the link came up"
        assert plan.look(T0 + turn + 0.5) == ""


def test_batch_alone_is_begun_by_hand() -> None:
    """Neither the start nor a link-up begins one; the workers know by themselves what they hold."""
    plan = Plan(ExchangeSettings(), is_batch=True)
    assert plan.look(T0, waiting(5, 1)) == "" and plan.exchanges.is_open
    assert plan.look(T0 + 1, is_down=True) == plan.look(T0 + 2) == ""
    plan.exchanges.begin("by hand", Now(T0 + 3, waiting=waiting(5)))
    assert plan.look(T0 + 4, waiting(0)) == "-all that may go has gone"


def test_every_hour() -> None:
    """The first at once, the next an hour after the last began; closed in between."""
    plan = Plan(ExchangeSettings(every=HOUR))
    assert plan.look(T0, waiting(1)).startswith("+") and plan.exchanges.is_open
    assert plan.look(T0 + 9, waiting(0)) == "-all that may go has gone" and not plan.exchanges.is_open
    assert plan.look(T0 + 3599, waiting(9)) == ""
    assert plan.look(T0 + 3600, waiting(9)) == "+it is time again (every 1 hour)"


def test_link_up_begins_one_that_is_overdue() -> None:
    """After an hour off line at once, with words that say why; after ten minutes off line not."""
    plan = Plan(ExchangeSettings(every=HOUR))
    plan.look(T0, waiting(0))
    plan.look(T0 + 1, waiting(0))
    assert plan.look(T0 + 60, is_down=True) == plan.look(T0 + 600, waiting(0)) == ""
    plan.look(T0 + 700, is_down=True)
    assert plan.look(T0 + 7300) == "+the link came up"


def test_at_a_time_of_day() -> None:
    """Once a day, not again when it is over; a time in which we were off line is made up for."""
    plan = Plan(ExchangeSettings(at=("08:00",)), now_s=at("30 07:00"))
    assert plan.look(at("30 07:59"), waiting(3)) == ""
    assert plan.look(at("30 08:00"), waiting(3)) == "+its time has come: at 08:00"
    assert plan.look(at("30 08:01"), waiting(0)).startswith("-all")
    assert plan.look(at("30 23:00"), waiting(3)) == ""
    assert plan.look(at("31 08:05"), is_down=True) == ""
    assert plan.look(at("31 09:00"), waiting(1)) == "+its time has come: at 08:00"


@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_clock_that_is_set_back(is_resumed: bool) -> None:
    """It was a month ahead in the last exchange: the next one is not a month away, one that goes on ends in its time,
    and so does the wait of the oldest message that came meanwhile; over a restart, too."""
    month_s = 30 * 86400.0

    def had_one(**settings: object) -> Plan:
        plan = Plan(ExchangeSettings(**settings), now_s=T0 + month_s)  # type: ignore[arg-type]
        if is_resumed:
            plan = Plan(ExchangeSettings(**settings))  # type: ignore[arg-type]
            plan.exchanges.resume(int((T0 + month_s) * 1000), int((T0 + month_s + 60) * 1000))
            return plan
        plan.exchanges.begin("once", Now(T0 + month_s))
        plan.exchanges.end(Now(T0 + month_s + 60))
        return plan

    plan = had_one(every=HOUR)
    assert not plan.look(T0) and plan.look(T0 + 3600) == "+it is time again (every 1 hour)"
    plan = had_one(at=("13:00",))
    assert not plan.look(T0) and plan.look(T0 + 3600) == "+its time has come: at 13:00"
    plan = had_one(oldest=HOUR)
    assert plan.look(T0, waiting(1, oldest=T0 + month_s)) == "+the oldest message has waited 1 hour"
    plan = had_one(messages=1, longest=HOUR)
    plan.exchanges.begin("goes on", Now(T0 + month_s, octets_out=1))
    assert not plan.look(T0, waiting(1), octets=2)
    assert plan.look(T0 + 3600, waiting(1), octets=3) == "-it may last no longer than 1 hour"


def test_a_time_before_the_plan_was_made_is_over() -> None:
    """A server that is set up at noon does not begin with 08:00; one that was off at 08:00 does."""
    plan = Plan(ExchangeSettings(at=("08:00",)))
    assert plan.look(T0, waiting(3)) == ""
    plan.exchanges.resume(int(at("29 08:00") * 1000), int(at("29 08:02") * 1000))
    assert plan.look(T0 + 1, waiting(3)) == "+its time has come: at 08:00"


def test_a_window_is_open_from_its_begin_to_its_end() -> None:
    """Whatever waits and comes; a link-up in it opens it again; longest has no say."""
    settings = ExchangeSettings(at=("22:00-06:00",), longest=timedelta(minutes=5))
    plan = Plan(settings, now_s=at("30 12:00"))
    assert plan.look(at("30 21:59"), waiting(3)) == ""
    assert plan.look(at("30 22:00"), waiting(3)) == "+its window is open"
    assert plan.look(at("30 23:30"), waiting(0)) == ""
    assert plan.look(at("31 01:00"), is_down=True) == "-the link went down"
    assert plan.look(at("31 02:00"), waiting(0)) == "+its window is open"
    assert plan.look(at("31 05:59"), waiting(5)) == ""
    assert plan.look(at("31 06:00"), waiting(5)) == "-its window is over"


def test_when_so_many_wait() -> None:
    """N messages; what was left by the last one does not begin the next."""
    plan = Plan(ExchangeSettings(messages=3))
    assert plan.look(T0, waiting(0)) == ""
    assert plan.look(T0 + 2, waiting(2)) == ""
    assert plan.look(T0 + 3, waiting(3)) == "+3 messages wait"
    plan.look(T0 + 4, waiting(2))
    assert plan.look(T0 + 40, waiting(2)).startswith("-nothing moves any more; 2 wait")
    assert plan.look(T0 + 41, waiting(4)) == ""
    assert plan.look(T0 + 42, waiting(5)) == "+5 messages wait"


def test_a_plan_without_times_has_one_at_each_link_up() -> None:
    """Who dials when he likes: but a restart of the server is no link-up."""
    plan = Plan(ExchangeSettings(messages=20))
    assert plan.look(T0, waiting(1)) == ""
    assert plan.look(T0 + 1, waiting(1), is_down=True) == ""
    assert plan.look(T0 + 2, waiting(1)) == "+the link came up"


def test_when_the_oldest_is_so_old() -> None:
    """M minutes; what could not go is not tried again before it has waited as long once more."""
    plan = Plan(ExchangeSettings(oldest=timedelta(minutes=30)))
    plan.look(T0, waiting(0))
    plan.look(T0 + 1, waiting(0))
    old = waiting(1, oldest=T0)
    assert plan.look(T0 + 1799, old) == ""
    assert plan.look(T0 + 1800, old) == "+the oldest message has waited 30 minutes"
    plan.look(T0 + 1801, waiting(1, oldest=T0))
    assert plan.look(T0 + 1840, waiting(1, oldest=T0)).startswith("-nothing moves")
    assert plan.look(T0 + 1900, waiting(1, oldest=T0)) == ""
    assert plan.look(T0 + 1840 + 1800, waiting(1, oldest=T0)).startswith("+")


@pytest.mark.parametrize("is_on", [True, False])
def test_urgent_mail(is_on: bool) -> None:
    """Begins one at once, unless the settings say no."""
    plan = Plan(ExchangeSettings(every=HOUR, urgent=is_on))
    plan.look(T0, waiting(0))
    plan.look(T0 + 1, waiting(0))
    assert plan.look(T0 + 2, waiting(1, 1)) == ("+urgent mail waits" if is_on else "")


@pytest.mark.parametrize("is_on", [True, False])
def test_urgent_mail_that_has_just_come(is_on: bool) -> None:
    """Begins one though as many wait as the last one left: one of those may have ended meanwhile."""
    plan = Plan(ExchangeSettings(messages=9, urgent=is_on))
    plan.look(T0, waiting(2, 2))
    plan.exchanges.begin("by hand", Now(T0))
    assert not plan.exchanges.urgent_came(), "one goes on"
    assert plan.look(T0 + 31, waiting(2, 2)) == ""
    assert plan.look(T0 + 62, waiting(2, 2)).startswith("-nothing moves")
    assert plan.look(T0 + 63, waiting(2, 2)) == ""
    assert plan.exchanges.urgent_came() is is_on
    assert plan.look(T0 + 64, waiting(2, 2)) == ("+urgent mail waits" if is_on else "")
    assert not Plan(ExchangeSettings()).exchanges.urgent_came(), "mail never waits for one"


def test_it_lasts_while_something_moves_or_is_under_way() -> None:
    """Octets that go, messages that come, a kick that waits for its answer; then `longest`."""
    plan = Plan(ExchangeSettings(every=HOUR, longest=timedelta(minutes=10)))
    plan.look(T0, waiting(5))
    for n in range(1, 10):
        assert plan.look(T0 + 25 * n, waiting(5), octets=n) == ""
    assert plan.look(T0 + 300, waiting(0), octets=9, is_working=True) == ""
    assert plan.look(T0 + 599, waiting(5), octets=10) == ""
    assert plan.look(T0 + 600, waiting(5), octets=11) == "-it may last no longer than 10 minutes"


def test_what_it_stayed_open_for_is_said() -> None:
    """All has gone and a kick waits for its answer for two minutes: the history says so; seconds are not
    worth a word, nor is what was still to be sent."""
    for seconds, words in (
        (120, "; then it waited 2 minutes for the answer to a kick, or collected"),
        (4, ""),
    ):
        plan = Plan(ExchangeSettings(every=HOUR))
        plan.look(T0, waiting(5))
        assert plan.look(T0 + 1, waiting(0), is_working=True) == ""
        assert plan.look(T0 + 10, waiting(1), octets=1, is_working=True) == ""
        assert plan.look(T0 + 20, waiting(0), octets=2, is_working=True) == ""
        ended = plan.look(T0 + 20 + seconds, waiting(0), octets=2)
        assert ended == f"-all that may go has gone{words}"


def test_nothing_is_decided_on_what_was_asked_before_it_began() -> None:
    """What was waiting a moment ago is no sign that all has gone, nor the other way round."""
    plan = Plan(ExchangeSettings(every=HOUR))
    empty = waiting(0)
    plan.look(T0, empty)
    assert plan.look(T0 + 1, empty) == ""
    assert plan.look(T0 + 2, waiting(0)) == "-all that may go has gone"


def test_the_plan() -> None:
    """The next by time and what else begins one."""
    settings = ExchangeSettings(every=HOUR, at=("12:30", "22:00-06:00"), messages=20, oldest=HOUR)
    plan = Plan(settings)
    plan.look(T0, waiting(0))
    following = plan.exchanges.next(T0 + 60)
    assert following is not None and (following.begin_s, following.why) == (T0 + 1800, "its time comes")
    following = plan.exchanges.next(T0 + 1801)
    assert following is not None and (following.begin_s, following.why) == (T0 + 3600, "every 1 hour")
    assert plan.exchanges.rules() == [
        "as soon as 20 messages wait",
        "as soon as the oldest has waited 1 hour",
        "at once for urgent mail",
    ]
    assert Plan(ExchangeSettings()).exchanges.next(T0) is None


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        (ExchangeSettings(), 0.0),
        (ExchangeSettings(every=HOUR), 1800.0),
        (ExchangeSettings(at=("22:00-06:00",)), 28800.0),
        (ExchangeSettings(at=("22:00-22:10",)), 600.0),
        (ExchangeSettings(at=("22:00-22:10", "08:00")), 1800.0),
    ],
)
def test_how_long_one_may_last(settings: ExchangeSettings, seconds: float) -> None:
    """For what could never go in one."""
    assert longest_s(settings) == seconds


def test_other_settings() -> None:
    """A plan that is taken out opens; one that is put in closes."""
    plan = Plan(ExchangeSettings())
    plan.look(T0)
    plan.exchanges.end(Now(T0))
    plan.exchanges.apply(ExchangeSettings(every=HOUR), is_batch=False, now_s=T0)
    assert not plan.exchanges.is_open
    plan.exchanges.apply(ExchangeSettings(), is_batch=False, now_s=T0)
    assert plan.exchanges.is_open


@pytest.mark.parametrize(
    ("settings", "again_s"),
    [(ExchangeSettings(every=HOUR), 3600.0), (ExchangeSettings(at=("12:00-13:00",)), 86400.0)],
    ids=["every", "window"],
)
def test_a_budget_that_is_used_ends_it(settings: ExchangeSettings, again_s: float) -> None:
    """In words, and none begins by itself until it is time for another: not even in the window that is open."""
    spent = "the 5 MiB of this exchange are used"
    plan = Plan(settings)
    plan.look(T0, waiting(9))
    assert plan.look(T0 + 60, waiting(9), spent=spent) == f"-{spent}"
    for second in range(61, 3600, 60):  # a window keeps its budget, an exchange that is over does not
        assert plan.look(T0 + second, waiting(9), spent=spent if settings.at else "") == ""
    assert plan.look(T0 + again_s, waiting(9)).startswith("+it")


def test_a_budget_of_a_link_that_is_as_good_as_down() -> None:
    """The words are those of the budget, not that the link went down."""
    plan = Plan(ExchangeSettings())
    plan.look(T0)
    plan.exchanges.went_down()
    spent = "the 5 MiB of this window are used"
    assert plan.look(T0 + 5, is_down=True, spent=spent) == f"-{spent}"
    assert plan.look(T0 + 9, is_down=True, spent=spent) == ""
    assert plan.look(T0 + 3600) == "+the link came up"


def test_which_exchange_octets_count_for() -> None:
    """None without a plan or between two; the same one for all of a window; with queue.batch alone the last one,
    also after a restart."""
    assert Plan(ExchangeSettings()).exchanges.turn(T0) == ""
    plan = Plan(ExchangeSettings(every=HOUR))
    assert plan.exchanges.turn(T0) == ""
    plan.look(T0, waiting(1))
    assert plan.exchanges.turn(T0 + 60) == f"{T0 * 1000:.0f}"
    window = Plan(ExchangeSettings(at=("11:00-13:00",)))
    before = window.exchanges.turn(T0)
    window.look(T0, waiting(1))
    assert before == window.exchanges.turn(T0 + 3599) == f"until {T0 + 3600:.0f}"
    assert window.exchanges.turn(T0 + 86400) == f"until {T0 + 90000:.0f}"
    batch = Plan(ExchangeSettings(), is_batch=True)
    assert batch.exchanges.turn(T0) == "0"
    batch.exchanges.begin("by hand", Now(T0 + 0.001))
    batch.exchanges.end(Now(T0 + 9))
    after = Plan(ExchangeSettings(), is_batch=True)
    after.exchanges.resume(round((T0 + 0.001) * 1000), 0)
    assert batch.exchanges.turn(T0 + 10) == after.exchanges.turn(T0 + 99) == f"{T0 * 1000 + 1:.0f}"
