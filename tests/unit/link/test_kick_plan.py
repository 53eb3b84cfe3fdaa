"""A plan of kicks: what is tried, repeated and given up, and when it is over. Time is no matter here."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from cmail.delivery.settings import SmtpSettings
from cmail.link.kick import plan_of
from cmail.link.kick_plan import AGAIN_S, LOOK_S, Came, KickEnding, Told, run_plan
from cmail.link.kicks.target import KickResult, Verdict
from cmail.link.settings import KickSettings

SENT, NOTHING, NOT_NOW, REFUSED = Verdict.SENT, Verdict.NOTHING, Verdict.NOT_NOW, Verdict.REFUSED


class Scene:
    """A Ground: what each try ends with, and how long after it (by seconds of this scene) mail comes."""

    def __init__(
        self,
        verdicts: Sequence[Verdict],
        mail_at_s: float | None = None,
        *,
        stranger_at_s: float | None = None,
    ) -> None:
        self.verdicts = list(verdicts)
        self.mail_at_s = mail_at_s
        self.stranger_at_s = stranger_at_s
        self.own: set[str] = set()  # hosts that have answered themselves
        self.now_s = 0.0
        self.tries: list[tuple[str, float]] = []
        self.down_at_s: float | None = None

    async def kick(self, step: KickSettings) -> KickResult:
        self.tries.append((step.host, self.now_s))
        return KickResult(self.verdicts.pop(0), "kick: so")

    async def arrivals(self, step: KickSettings) -> Came:
        own = self.mail_at_s is not None and self.now_s >= self.mail_at_s
        other = self.stranger_at_s is not None and self.now_s >= self.stranger_at_s
        return Came(7 + own + other, 3 + own)

    def answers_itself(self, step: KickSettings) -> bool:
        return step.host in self.own

    def answered_itself(self, step: KickSettings) -> None:
        self.own.add(step.host)

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def is_down(self) -> bool:
        return self.down_at_s is not None and self.now_s >= self.down_at_s


def step(host: str, repeat: int = 1, wait_s: float = 120) -> KickSettings:
    return KickSettings("etrn", host, wait=timedelta(seconds=wait_s), repeat=repeat)


def run(scene: Scene, *steps: KickSettings) -> tuple[KickEnding, list[str]]:
    said: list[Told] = []
    ending = asyncio.run(run_plan(steps, scene, said.append))
    return ending, [told.state for told in said]


TWO = (step("a"), step("b"))
CASES = {
    "mail comes": ([SENT], 3.0, TWO, KickEnding.ANSWERED, [("a", 0)]),
    "mail comes after the repetition": (
        [SENT, SENT],
        130.0,
        TWO,
        KickEnding.ANSWERED,
        [("a", 0), ("a", 120)],
    ),
    "250 and nothing: repeated, then the next": (
        [SENT, SENT, SENT],
        241.0,
        TWO,
        KickEnding.ANSWERED,
        [("a", 0), ("a", 120), ("b", 240)],
    ),
    "nobody ever": (
        [SENT] * 4,
        None,
        TWO,
        KickEnding.UNANSWERED,
        [("a", 0), ("a", 120), ("b", 240), ("b", 360)],
    ),
    "refused is not repeated": ([REFUSED, SENT], 1.0, TWO, KickEnding.ANSWERED, [("a", 0), ("b", 0)]),
    "nothing waits is not repeated": (
        [NOTHING, REFUSED],
        None,
        TWO,
        KickEnding.NOTHING,
        [("a", 0), ("b", LOOK_S)],
    ),
    "nothing waits, because our log-in has sent it off": (
        [NOTHING],
        1.0,
        TWO,
        KickEnding.ANSWERED,
        [("a", 0)],
    ),
    "nobody there: again soon": (
        [NOT_NOW, SENT],
        AGAIN_S + 1,
        TWO,
        KickEnding.ANSWERED,
        [("a", 0), ("a", AGAIN_S)],
    ),
    "nobody there at the end: not waited for": (
        [NOT_NOW, NOT_NOW],
        None,
        (step("a"),),
        KickEnding.UNANSWERED,
        [("a", 0), ("a", AGAIN_S)],
    ),
    "never repeated": ([SENT], None, (step("a", 0),), KickEnding.UNANSWERED, [("a", 0)]),
    "no steps": ([], None, (), KickEnding.UNANSWERED, []),
    "mail that came before counts for nothing": (
        [SENT, SENT],
        -1.0,
        (step("a"),),
        KickEnding.UNANSWERED,
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_plan(name: str) -> None:
    """Each way it can go: which servers are asked, when, and how it ends."""
    verdicts, mail_at_s, steps, ending, tries = CASES[name]
    scene = Scene(verdicts, mail_at_s)
    assert run(scene, *steps)[0] is ending
    assert tries is None or scene.tries == tries


def test_a_stranger_at_that_moment_is_no_answer() -> None:
    """Of a host that has answered from its own addresses before: it is kicked once more, and what comes from
    elsewhere is an answer only then. Of one that never has, anything from outside is, at once; and so it is
    in the end where nothing is repeated (it may send from another host now)."""
    first = Scene([SENT], 3.0)
    assert run(first, step("a"))[0] is KickEnding.ANSWERED and first.own == {"a"}
    known = Scene([SENT, SENT], 130.0, stranger_at_s=3.0)
    known.own.add("a")
    assert run(known, step("a")) == (KickEnding.ANSWERED, ["sent", "unanswered", "sent", "answered"])
    assert known.tries == [("a", 0), ("a", 120)]
    new = Scene([SENT], stranger_at_s=3.0)
    assert run(new, step("a"))[0] is KickEnding.ANSWERED and new.now_s < 5 and not new.own
    once = Scene([SENT], stranger_at_s=3.0)
    once.own.add("a")
    assert run(once, step("a", 0)) == (KickEnding.ANSWERED, ["sent", "answered"]) and once.now_s >= 120


def test_it_ends_when_the_link_goes_down() -> None:
    """Nothing can come then, and at the next link-up the plan begins anew."""
    scene = Scene([SENT])
    scene.down_at_s = 5.0
    assert run(scene, *TWO) == (KickEnding.STOPPED, ["sent", "stopped"])
    assert scene.now_s <= 6


def test_each_step_is_told() -> None:
    """Who asked sees what the server said, that no mail came, and that it did."""
    assert run(Scene([SENT, REFUSED, SENT], 121.0), *TWO)[1] == [
        "sent",
        "unanswered",
        "refused",
        "sent",
        "answered",
    ]


def test_smtp_kick_is_the_plan_of_one_finger() -> None:
    """The primary domain to the trigger port of the SMTP host; [[link.kick]] comes behind it."""
    smtp = SmtpSettings(host="smtp.isp.example", kick=True, trigger_port=7979)
    (only,) = plan_of(smtp, ())
    assert (only.method, only.host, only.port) == ("finger", "smtp.isp.example", 7979)
    steps = plan_of(smtp, (KickSettings("etrn"), KickSettings("string", "b.example", 99, "hello")))
    assert [(each.method, each.host, each.port) for each in steps[1:]] == [
        ("etrn", "smtp.isp.example", 0),
        ("string", "b.example", 99),
    ]
    assert plan_of(SmtpSettings(), ()) == ()
