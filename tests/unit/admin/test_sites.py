"""`cmail site list`: the workers' rows as one for each site."""

from cmail.admin.sites import add_up, as_json, is_full
from cmail.cli.site import describe

ROW = {"name": "ship", "domains": ["ship.example"], "messages": 2, "octets": 1024, "held": 0} | {
    "is_there": False,
    "seen_ms": 0,
    "how": "",
}


def test_what_the_workers_say_is_added_up() -> None:
    """Counts together; the latest of what was seen; there when one says so."""
    later = {**ROW, "messages": 1, "octets": 512, "held": 1, "is_there": True, "seen_ms": 9, "how": "ATRN"}
    (found,) = add_up([ROW, later, {**ROW, "messages": 0, "octets": 0, "seen_ms": 3, "how": "ETRN"}])
    assert (found["messages"], found["octets"], found["held"]) == (3, 1536, 1)
    assert found["is_there"] and found["how"] == "ATRN"
    assert as_json(found)["last_seen"] and as_json(add_up([ROW])[0])["last_seen"] is None


def test_a_line_for_people() -> None:
    """How much, whether something is on hold, when it was here."""
    assert describe(add_up([ROW])[0]) == "ship (ship.example): 2 messages wait, 1 KiB; never seen"
    one = add_up([{**ROW, "messages": 1, "held": 1, "is_there": True, "seen_ms": 1, "how": "ETRN x"}])[0]
    assert "1 message waits, 1 KiB, 1 on hold; it is there now; last seen" in describe(one)


def test_a_limit_that_is_reached() -> None:
    """By messages or octets; no limit is never reached. Programs are told."""
    assert not is_full(ROW) and not is_full({**ROW, "messages_max": 3, "octets_max": 1025})
    assert is_full({**ROW, "messages_max": 2}) and is_full({**ROW, "octets_max": 1024})
    assert as_json(add_up([{**ROW, "messages_max": 2}])[0])["is_full"] is True
