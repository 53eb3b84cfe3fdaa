"""KickRecord: what each step of the plan was answered last."""

from cmail.app.kick_record import KickRecord
from cmail.link.kick_plan import KickEnding, Told
from cmail.link.settings import KickSettings

PLAN = (KickSettings("finger", "a", 79), KickSettings("atrn", "b", 366))


def told(step: int, state: str, words: str, attempt: int = 1) -> Told:
    return Told(step, 2, PLAN[step - 1].method, PLAN[step - 1].host, attempt, state, words)


def record() -> KickRecord:
    found = KickRecord(lambda: 77)
    found.apply(PLAN)
    return found


def test_what_was_said_and_what_came_of_it() -> None:
    """The server's words stay when it is told that no mail came; the other step was not tried."""
    found = record()
    found.begin()
    found.tell(told(1, "sent", "kick: a:79: 3 wait"))
    found.tell(told(1, "unanswered", "kick: no mail came within 120 s", 2))
    first, second = found.fields()["steps"]
    assert (first["state"], first["said"], first["then"]) == (
        "unanswered",
        "a:79: 3 wait",
        "no mail came within 120 s",
    )
    assert (first["attempt"], first["at_ms"], first["port"]) == (2, 77, 79)
    assert second["state"] == "" and second["at_ms"] == 0
    found.tell(told(1, "sent", "kick: once more"))
    assert found.fields()["steps"][0]["then"] == "", "it is about the try of before"
    found.end(KickEnding.UNANSWERED)
    assert (found.fields()["ending"], found.fields()["ended_ms"]) == ("unanswered", 77)


def test_a_new_plan_begins_anew() -> None:
    """Kicked again nothing of before is shown; other settings forget all of it, the same settings nothing."""
    found = record()
    found.tell(told(2, "refused", "kick: no"))
    found.end(KickEnding.UNANSWERED)
    found.apply(PLAN)
    assert found.fields()["steps"][1]["said"] == "no" and found.fields()["ending"]
    found.begin()
    assert found.fields()["steps"][1]["said"] == ""
    found.apply(PLAN[:1])
    assert len(found.fields()["steps"]) == 1 and found.fields()["ending"] == ""
    found.tell(told(2, "sent", "kick: late"))
    assert found.fields()["steps"][0]["state"] == "", "of a plan that is none any more"
