"""What `cmail link status|plan|history` prints."""

from typing import Any

from cmail.admin.link_words import describe, describe_history, describe_plan, size

WAITING = {"messages": 3, "octets": 5_000_000, "urgent": 1, "admitted_messages": 2, "admitted_octets": 64_000}
ROW = {
    "id": "38G6TPN5J0000",
    "size": 2048,
    "priority": 4,
    "from": "anna@example.org",
    "to": ["bob@example.net"],
}
PLAN: dict[str, Any] = {
    "is_planned": True, "is_always": False, "is_open": False, "is_down": False, "words": "", "rules": [],
    "next_ms": 1_800_000_000_000, "next_s": 900, "next_why": "every 1 hour", "rate": 256, "takes_s": 2,
    "waiting": WAITING, "listed": [{**ROW, "takes_s": 0.1}],
}  # fmt: skip


def test_the_state_of_the_line() -> None:
    """The first line is what `cmail status` shows too."""
    lines = describe({"is_down": True, "words": "eth0 has no carrier", "periods": 3, "down_ms": 7_200_000})
    assert lines[0] == "link: down: eth0 has no carrier"
    assert "  link-up periods so far: 3" in lines and "  down altogether: 2 h" in lines
    assert describe({"is_down": False})[0] == "link: up"
    assert describe({})[0] == "link: up", "of a link process of before"


def test_each_link_with_its_policy() -> None:
    """State, why, what it may carry, what was used, how fast it is."""
    link = {
        "name": "satellite", "state": "up", "why": "wwan0 has carrier, address and route", "since_ms": 0,
        "is_used": True, "use": "small", "policy": "mail up to 100 KiB and urgent", "rests": False,
        "budget": 2**20, "used_today": 2**19, "rate": 256,
        "window_budget": 2**18, "used_in_window": 2**17, "counted_by": "exchange",
    }  # fmt: skip
    assert describe({"links": [link]})[1:] == [
        "  satellite: up, mail goes by it",
        "    wwan0 has carrier, address and route",
        "    may carry: mail up to 100 KiB and urgent",
        "    used today: 512 KiB of 1 MiB",
        "    used in this exchange: 128 KiB of 256 KiB",
        "    rate: 256 kbit/s",
    ]
    rests = {**link, "policy": "its window begins at 22:00", "rests": True, "is_used": False}
    assert "    rests: its window begins at 22:00" in describe({"links": [rests]})


def test_the_plan() -> None:
    """When, what, in which order, how long."""
    missed = describe_plan({**PLAN, "is_down": True, "next_s": 0})
    assert missed[0] == "The next exchange is as soon as the link is up: every 1 hour."
    lines = describe_plan(PLAN)
    assert lines[0].startswith("The next exchange is 2027-01-1") and lines[0].endswith(
        "in 15 min: every 1 hour."
    )
    assert lines[1] == (
        "3 messages wait, 4.8 MiB, 1 urgent; 2 of them may go over the link; that takes 2 s at 256 kbit/s,"
        " in this order:"
    )
    assert "38G6TPN5J0000" in lines[2] and "urgent" in lines[2] and "<bob@example.net>" in lines[2]
    assert lines[3] == "  ... and 1 more"
    assert describe_plan({**PLAN, "left": 64_000})[1:] == lines[1:]
    assert "No more than 31.2 KiB of it may go before the link rests:" in describe_plan(
        {**PLAN, "left": 32_000}
    )


def test_plans_of_other_kinds() -> None:
    """None, one that goes on, batch, the link down, nothing that waits."""
    nothing = {**PLAN, "waiting": dict.fromkeys(WAITING, 0), "listed": []}
    assert describe_plan({**nothing, "is_always": True})[0].startswith("No exchanges are planned")
    assert describe_plan(nothing)[-1] == "Nothing waits for the Internet."
    is_open = {
        **nothing,
        "is_open": True,
        "begin_ms": 1_800_000_000_000,
        "until_ms": 0,
        "why": "urgent mail waits",
    }
    assert describe_plan(is_open)[0].endswith(": urgent mail waits.")
    kicked = describe_plan({**is_open, "is_working": True, "latest_ms": 1_800_000_600_000})[0]
    assert "stays open while a kick waits for its answer" in kicked and kicked.endswith(" at most.")
    by_rule = {**nothing, "next_ms": 0, "next_s": None, "rules": ["as soon as 20 messages wait"]}
    assert describe_plan(by_rule)[:2] == [
        "No exchange is planned by time.",
        "Also as soon as 20 messages wait.",
    ]
    batch = {**nothing, "next_ms": 0, "is_planned": False}
    assert "queue.batch" in describe_plan(batch)[0]
    down = {**nothing, "is_down": True, "words": "eth0 has no carrier"}
    assert "The link is down: eth0 has no carrier" in describe_plan(down)


def test_the_history() -> None:
    """When, why, how long, how much, what it cost, how kicks ended."""
    entry = {
        "begin_ms": 1_800_000_000_000, "end_ms": 1_800_000_090_000, "why": "its time has come: at 08:00",
        "ended": "all that may go has gone", "link": "satellite", "messages_out": 1, "octets_out": 2048,
        "messages_in": 2, "octets_in": 700, "cost": 1.5, "kicks": ["kick: answered"], "collections": [],
    }  # fmt: skip
    first, second, third = describe_history([entry])
    assert first.endswith(" by satellite: its time has come: at 08:00 (90 s, all that may go has gone)")
    assert second == "  out: 1 message, 2 KiB; in: 2 messages, 700 octets; cost: 1.50"
    assert third == "  kick: answered"
    assert describe_history([{**entry, "end_ms": 0, "link": "line"}])[0].endswith("(it goes on)")
    assert describe_history([{**entry, "cost": 0.001}])[1].endswith("; cost: under 0.01"), "not 0.00"
    assert describe_history([]) == ["There was no exchange yet."]
    assert size(1) == "1 octet"
