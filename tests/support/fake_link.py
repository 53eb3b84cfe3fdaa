"""A link process with much to tell, for pages under test: three links, a plan, kicks, mailboxes, sites, a past."""

import time
from typing import Any, Final

from tests.support.fake_web import FakeProcesses

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def exchange(**more: Any) -> dict[str, Any]:
    """As link.status tells it: planned, the next in twelve and a half minutes."""
    return {
        "is_planned": True, "is_always": False, "is_open": False, "why": "", "begin_ms": 0, "until_ms": 0,
        "is_working": False, "next_ms": now_ms() + 750_000, "next_why": "every 1 hour",
        "rules": ["as soon as 20 messages wait", "at once for urgent mail"], **more,
    }  # fmt: skip


def link(name: str, **more: Any) -> dict[str, Any]:
    """One of [[link.via]]."""
    return {
        "name": name, "state": "up", "why": f"{name}0 has carrier, address and route", "since_ms": now_ms() - 3 * HOUR,
        "hand": "", "is_used": False, "devices": [f"{name}0"], "use": "all", "rate": 0, "cost": 0.0, "largest": 0,
        "budget": 0, "used_today": 0, "window_budget": 0, "used_in_window": 0, "counted_by": "window", "window": [],
        "is_window_used_up": False, "policy": "all mail", "rests": False, "is_used_up": False, **more,
    }  # fmt: skip


def links() -> list[dict[str, Any]]:
    """Three, of which the satellite carries."""
    return [
        link("fibre", state="down", why="eth0 has no carrier", devices=["eth0"]),
        link(
            "lte", devices=["wwan0", "ppp0"], use="small", rate=2000, cost=0.02, budget=200 << 20,
            used_today=200 << 20, policy="the 200 MiB of today are used; it rests until midnight", rests=True,
            is_used_up=True,
        ),
        link(
            "satellite", is_used=True, devices=["tun3"], rate=256, cost=4.5, largest=2 << 20, budget=40 << 20,
            used_today=17 << 20, window_budget=20 << 20, used_in_window=5 << 20, window=["22:00-06:00", "Mon-Fri 12:00-13:00"], policy="mail up to 2 MiB",
        ),
    ]  # fmt: skip


def kick_step(method: str, host: str, **more: Any) -> dict[str, Any]:
    """One of the plan."""
    return {
        "method": method, "host": host, "port": 0, "text": "example.org", "state": "", "said": "", "then": "",
        "attempt": 0, "at_ms": 0, **more,
    }  # fmt: skip


def kick() -> dict[str, Any]:
    """Three steps; the second brought mail."""
    then = now_ms() - 47 * MINUTE
    first = kick_step(
        "finger", "smtp.isp.example", port=79, state="unanswered", attempt=2, at_ms=then - 2 * MINUTE,
        said="finger smtp.isp.example:79: CMail: 3 messages wait for example.org", then="no mail came within 120 s",
    )  # fmt: skip
    second = kick_step(
        "atrn", "odmr.isp.example", port=366, text="", state="answered", attempt=1, at_ms=then,
        said="ATRN odmr.isp.example:366: 250 OK now reversing the connection", then="answered: 3 messages have come",
    )  # fmt: skip
    third = kick_step("command", "", text="")
    return {"steps": [first, second, third], "ending": "answered", "ended_ms": then}


def account(name: str, **more: Any) -> dict[str, Any]:
    """One of [[collect]]."""
    return {
        "name": name, "protocol": "imap", "host": "imap.isp.example", "username": f"{name}4711",
        "to": f"{name}@example.org", "keep": False, "state": "waiting", "is_ok": True, "words": "3 fetched",
        "last_ms": now_ms() - 4 * MINUTE, "next_s": 660, "fetched": 17, "counts": {}, **more,
    }  # fmt: skip


def accounts() -> list[dict[str, Any]]:
    """One that listens, one with a wrong password, one of a whole domain with messages that were left there."""
    return [
        account("anna", state="listening", next_s=0),
        account("info", is_ok=False, words="the password is wrong: NO [AUTHENTICATIONFAILED] log-in failed", fetched=0),
        account(
            "catch-all", protocol="pop3", to="@example.org", keep=True, words="2 fetched; 1 too large, previews made",
            counts={"previewed": 1, "left": 1},
        ),
    ]  # fmt: skip


def left() -> list[dict[str, Any]]:
    """collect.list."""
    row = {"name": "catch-all", "at_ms": now_ms() - HOUR, "is_wanted": False}
    return [
        {**row, "id": 17, "state": "previewed", "size": 12 << 20, "words": ""},
        {
            **row,
            "id": 21,
            "state": "left",
            "size": 4000,
            "words": "it has come through this mailbox three times",
        },
    ]


def site(name: str, **more: Any) -> dict[str, Any]:
    """One of [[site]], as one worker counts."""
    return {
        "name": name, "domains": [f"{name}.example.org"], "messages": 12, "octets": 3 << 20, "held": 0, "is_there": False,
        "seen_ms": now_ms() - 26 * HOUR, "how": "ATRN", "messages_max": 0, "octets_max": 0, **more,
    }  # fmt: skip


def listed() -> list[dict[str, Any]]:
    """The first of what waits, in its order."""
    rows = []
    for n, (priority, kind, size) in enumerate(
        [
            (4, 1, 2400),
            (0, 0, 9000),
            (0, 1, 3100),
            (0, 1, 48_000),
            (0, 2, 700_000),
            (0, 3, 1_900_000),
            (-2, 1, 800),
        ]
    ):
        rows.append(
            {
                "id": f"38G6TPN5J000{n}",
                "from": "anna@example.org",
                "to": [f"bob{n}@example.net", "c@example.com"][: 1 + n % 2],
                "size": size,
                "priority": priority,
                "rank": ((9 - priority) * 4 + kind) << 42,
                "route": "relay",
                "arrived_ms": now_ms() - HOUR,
                "takes_s": round(size / 32_000, 1),
            }
        )
    return rows


def plan(**more: Any) -> dict[str, Any]:
    """link.plan."""
    waiting = {
        "messages": 31, "octets": 6_400_000, "urgent": 1, "admitted_messages": 29, "admitted_octets": 3_900_000,
        "oldest_ms": now_ms() - HOUR,
    }  # fmt: skip
    return {
        **exchange(), "is_down": False, "link": "satellite", "words": "", "next_s": 750, "waiting": waiting, "rate": 256,
        "takes_s": 122, "listed": listed(), **more,
    }  # fmt: skip


def entry(n: int, **more: Any) -> dict[str, Any]:
    """An exchange, n hours ago."""
    begin = now_ms() - n * HOUR - 47 * MINUTE
    return {
        "begin_ms": begin, "why": "it is time again (every 1 hour)", "link": ("satellite", "lte", "fibre")[n % 3],
        "end_ms": begin + (40 + n * 7) * 1000, "ended": "all that may go has gone", "messages_out": n * 3 % 11,
        "octets_out": n * 60_000, "messages_in": n % 4, "octets_in": 900 + n * 4000, "cost": 0.31 * (n % 3),
        "kicks": ["kick: answered (atrn odmr.isp.example)"] if n % 2 else [],
        "collections": ["collect: anna: 2 fetched", "collect: info: the password is wrong"] if n % 4 == 0 else [], **more,
    }  # fmt: skip


def history() -> list[dict[str, Any]]:
    """Fifty."""
    return [entry(n) for n in range(50)]


def tell_much(processes: FakeProcesses) -> None:
    """Have the processes say all of it."""
    status = processes.answers["link", "link.status"]
    trouble = {
        "name": "info",
        "words": "the password is wrong",
        "fault": "log-in",
        "since_ms": now_ms() - HOUR,
    }
    processes.answers |= {
        ("link", "link.status"): {
            **status, "link": "satellite", "words": "", "exchange": exchange(), "links": links(), "is_kicking": False,
            "kick": kick(), "collects": True, "collect_troubles": [trouble],
        },
        ("link", "link.plan"): plan(),
        ("link", "link.history"): lambda _: {"exchanges": history()},
        ("link", "collect.status"): {"accounts": accounts(), "trouble": "", "is_online": True},
        ("link", "collect.list"): {"messages": left()},
        ("worker", "site.list"): [
            site("ship", is_there=True, seen_ms=now_ms() - MINUTE), site("farm", messages=5000, messages_max=5000, held=2),
        ],
        ("worker", "queue.figures"): {"messages": 32, "recipients": {"queued": 31, "held": 1}, "oldest_ms": now_ms() - HOUR},
        ("worker", "queue.count"): {"recipients": 1},
        ("worker", "queue.list"): lambda asked: [held()] if asked["filter"].get("reason") else [],
    }  # fmt: skip


def held() -> dict[str, Any]:
    """A recipient whose message no link can carry."""
    return {
        "id": "38G6TPN5J0009", "position": 0, "from": "anna@example.org", "to": "press@example.net", "size": 60 << 20,
        "state": "held", "attempts": 0, "next_ms": 0, "arrived_ms": now_ms() - HOUR, "kind": 0, "route": "relay", "origin": "",
        "reason": "cannot fit: it has 60 MiB, and satellite takes no more than 2 MiB; lte may carry 40 MiB a day",
        "kept": "",
    }  # fmt: skip
