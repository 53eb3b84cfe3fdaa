"""The API of the link: links, plan, exchanges, kicks, mailboxes elsewhere, sites, on canned answers."""

from pathlib import Path

import pytest

from cmail.net.control import ControlError
from cmail.web.api.operation import PREFIX
from cmail.web.api.schema import check
from cmail.web.api.v1 import OPERATIONS
from tests.support import fake_link
from tests.support.fake_web import SETTINGS
from tests.unit.web.test_api import Api, errors, problem

READ = ("/links", "/plan", "/exchanges", "/kick", "/collect", "/sites")


@pytest.fixture
def api(tmp_path: Path) -> Api:
    found = Api(tmp_path)
    fake_link.tell_much(found.processes)
    return found


@pytest.mark.parametrize("path", READ)
def test_answers_are_as_described(api: Api, path: str) -> None:
    """Each is what its schema promises, with much to tell and with nothing."""
    [operation] = [each for each in OPERATIONS if (each.method, each.path) == ("GET", path)]
    assert operation.result is not None
    answer = api.ask("GET", path, "read")
    assert answer.status_code == 200 and check(operation.result, answer.json()) == []
    api.processes.answers |= {
        ("link", "link.status"): {"is_down": False}, ("link", "link.plan"): {}, ("link", "link.history"): {"exchanges": []},
        ("link", "collect.status"): {"accounts": []}, ("worker", "site.list"): [],
    }  # fmt: skip
    answer = api.ask("GET", path, "read")
    assert answer.status_code == 200 and check(operation.result, answer.json()) == []


def test_what_takes_no_body_refuses_what_is_in_one(api: Api) -> None:
    """By name: an exchange of one link is not answered as if it were one."""
    for path in ("/exchanges", "/kick"):
        answer = api.ask("POST", path, "admin", json={"name": "fibre"})
        assert answer.status_code == 422 and errors(answer)["/name"] == "is not known here; there is: nothing"
        assert api.ask("POST", path, "admin", content=b"name=fibre").status_code == 415
    assert not [asked for _, asked, _ in api.processes.asked if asked in ("link.exchange", "link.collect")]
    api.processes.answers["link", "link.exchange"] = {"is_new": True, "begin_ms": 1}
    assert api.ask("POST", "/exchanges", "admin", json={}).status_code == 202


def test_links_and_their_plan(api: Api) -> None:
    """What a program needs to show the same as the page."""
    fibre, lte, satellite = api.ask("GET", "/links", "read").json()["links"]
    assert fibre["state"] == "down" and fibre["why"] == "eth0 has no carrier"
    assert lte["may_carry"] == "" and "rests until midnight" in lte["rests"]
    assert satellite["is_used"] and satellite["rate"] == 256 and satellite["used_today"] == 17 << 20
    plan = api.ask("GET", "/plan", "read").json()
    assert (
        plan["next"].endswith("Z") and plan["takes_s"] == 122 and plan["waiting"]["admitted_messages"] == 29
    )
    assert [each["order"] for each in plan["messages"]][:2] == [
        "urgent, small (up to 64 KiB)",
        "has a deadline",
    ]
    entries = api.ask("GET", "/exchanges", "read").json()["exchanges"]
    assert len(entries) == 50 and entries[1]["cost"] == 0.31 and entries[1]["kicks"]


def test_elsewhere(api: Api) -> None:
    """Kicks, mailboxes, sites."""
    steps = api.ask("GET", "/kick", "read").json()["steps"]
    assert [each["state"] for each in steps] == ["unanswered", "answered", ""] and steps[2]["at"] is None
    boxes = api.ask("GET", "/collect", "read").json()["mailboxes"]
    assert (
        boxes[0]["now"] == "listens for new mail"
        and not boxes[1]["is_ok"]
        and "1 too large" in boxes[2]["there"]
    )
    ship, farm = api.ask("GET", "/sites", "read").json()["sites"]
    assert ship["is_there"] and not ship["is_full"] and farm["is_full"]


def test_something_begins(api: Api) -> None:
    """202 when it has; each with what has begun."""
    api.processes.answers["link", "link.exchange"] = {"is_new": True, "begin_ms": 1_800_000_000_000}
    answer = api.ask("POST", "/exchanges")
    assert answer.status_code == 202 and answer.json() == {"is_new": True, "begin": "2027-01-15T08:00:00Z"}
    api.processes.answers["link", "link.collect"] = {"is_kicked": True, "collects": ["anna"]}
    for path, body, asked in (
        ("/kick", None, {"kick": True, "collect": False}),
        ("/collect", None, {"kick": True, "collect": True, "names": []}),
        ("/collect", {"names": ["anna"]}, {"kick": False, "collect": True, "names": ["anna"]}),
    ):
        answer = api.ask("POST", path, json=body) if body else api.ask("POST", path)
        assert answer.status_code == 202 and answer.json()["is_kicked"]
        assert api.processes.asked[-1][2] == asked


def test_what_cannot_begin(api: Api) -> None:
    """Off line 503, nothing set up 409, no such mailbox 422 at its place; each in words."""

    def refuse(words: str, code: int) -> None:
        def answer(_: object) -> None:
            raise ControlError(words, code)

        api.processes.answers["link", "link.collect"] = api.processes.answers["link", "link.exchange"] = (
            answer
        )

    refuse("the link is down", 75)
    assert problem(api.ask("POST", "/exchanges"), 503)["detail"] == "The link is down."
    problem(api.ask("POST", "/kick"), 503)
    refuse("nobody is to be kicked", 78)
    problem(api.ask("POST", "/kick"), 409)
    problem(api.ask("POST", "/collect"), 409)
    refuse("there is no [[collect]] named 'x'", 67)
    assert "/names" in errors(api.ask("POST", "/collect", json={"names": ["x"]}))
    assert "/names" in errors(api.ask("POST", "/collect", json={"names": []}))


def test_one_link_by_hand(api: Api) -> None:
    """POST /link with a name."""
    api.processes.answers["link", "link.down"] = {"is_down": False}
    assert api.ask("POST", "/link", json={"state": "down", "name": "lte"}).status_code == 200
    assert ("link", "link.down", {"name": "lte"}) in api.processes.asked
    assert PREFIX == "/api/v1"


def test_an_account_that_is_not_there(tmp_path: Path) -> None:
    """GET /sites and GET /collect say it of the row that names it, as the settings are saved."""
    settings = f"""{SETTINGS}
[[site]]
name = "ship"
domains = ["ship.example"]
user = "bert@example.org"
[[collect]]
name = "isp"
protocol = "pop3"
host = "x"
username = "x"
to = "bert@example.org"
"""
    (tmp_path / "cmail.toml").write_text(settings + '[admin]\naddress = "127.0.0.1:0"\n')
    api = Api(tmp_path)
    fake_link.tell_much(api.processes)
    account = {**fake_link.account("isp"), "to": "bert@example.org"}
    api.processes.answers["link", "collect.status"] = {"accounts": [account]}
    [mailbox] = api.ask("GET", "/collect", "read").json()["mailboxes"]
    assert "bert@example.org" in mailbox["warning"]
    sites = api.ask("GET", "/sites", "read").json()["sites"]
    assert {each["name"]: bool(each["warning"]) for each in sites}["ship"]
