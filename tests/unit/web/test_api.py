"""The API behind its door: who may, what is refused and how, and each resource on canned answers."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from cmail.net.control import ControlError
from cmail.web.api import bodies
from cmail.web.api.problems import ApiError
from cmail.web.api.v1 import OPERATIONS
from cmail.web.application import guarded
from tests.support.fake_web import fake_context

QUEUE_ID: Final = "01K4S8QN20000"
ROW: Final = {
    "id": QUEUE_ID,
    "position": 0,
    "from": "anna@example.org",
    "to": "bob@example.net",
    "size": 100,
    "state": "queued",
    "attempts": 1,
    "next_ms": 1_800_000_000_000,
    "reason": "mx.example.net[192.0.2.9]:25: rcpt: 450 4.7.1 greylisted",
    "arrived_ms": 1_700_000_000_000,
    "kind": 0,
    "route": "relay",
    "origin": "x",
}
ENVELOPE: Final = {
    "id": QUEUE_ID, "from": "anna@example.org", "size": 30, "arrived_ms": 1_700_000_000_000, "origin": "by API",
    "ret": "", "envid": "", "smtputf8": False, "body8bit": False, "priority": 0,
}  # fmt: skip


class Api:
    """A token of each scope, and somebody who uses them."""

    def __init__(self, folder: Path) -> None:
        self.context, self.processes = fake_context(folder)
        self.file = folder / "cmail.toml"
        keys = self.context.keys
        self.tokens = {scope: keys.add_token(scope, scope) for scope in ("read", "send", "admin")}
        self.application = guarded(self.context)
        self.client = self.new_client()

    def new_client(self, address: str = "127.0.0.1") -> TestClient:
        return TestClient(
            self.application,
            base_url="http://mail.example.org",
            follow_redirects=False,
            raise_server_exceptions=False,
            client=(address, 4711),
        )

    def ask(self, method: str, path: str, scope: str = "admin", **more: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.tokens[scope]}", **more.pop("headers", {})}
        return self.client.request(method, f"/api/v1{path}", headers=headers, **more)


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(tmp_path)


def problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """The problem that an answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status and found["title"] and found["detail"]
    return found


def errors(answer: httpx2.Response, status: int = 422) -> dict[str, str]:
    """Its errors by pointer or parameter."""
    return {
        each.get("pointer", each.get("parameter")): each["detail"]
        for each in problem(answer, status)["errors"]
    }


# Who may.


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_each_operation_wants_a_token_of_its_scope(api: Api, operation: Any) -> None:
    """Without a token 401, with one of another scope 403; both as problems."""
    path = operation.path.replace("{id}", QUEUE_ID).replace("{number}", "1").replace("{", "").replace("}", "")
    answer = api.client.request(operation.method, f"/api/v1{path}")
    problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    for scope in ("read", "send"):
        if operation.scope and scope != operation.scope:
            problem(api.ask(operation.method, path, scope), 403)


def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(api: Api) -> None:
    """A guesser hears 429 after ten; who has a token comes in all the same."""
    said = [
        api.client.get("/api/v1/status", headers={"authorization": f"Bearer x{n}"}).status_code
        for n in range(12)
    ]
    assert said == [401] * 10 + [429] * 2
    answer = api.client.get("/api/v1/status", headers={"authorization": "Bearer x"})
    problem(answer, 429)
    assert int(answer.headers["retry-after"]) >= 1
    assert api.ask("GET", "/status", "read").status_code == 200
    other = api.new_client("192.0.2.9").get("/api/v1/status", headers={"authorization": "Bearer x"})
    assert other.status_code == 401


def test_a_session_of_the_page_may_use_it_with_its_csrf_token(api: Api) -> None:
    """Looking needs the cookie, changing the token of the session too; never a form of another page."""
    api.context.keys.set_password("correct horse")
    assert api.client.post("/login", data={"password": "correct horse"}).status_code == 303
    csrf = next(iter(api.context.sessions._by_hash.values())).csrf
    assert api.client.get("/api/v1/status").status_code == 200
    say = {"state": "up"}
    api.processes.answers["link", "link.up"] = {}
    problem(api.client.post("/api/v1/link", json=say), 403)
    problem(api.client.post("/api/v1/link", json=say, headers={"x-csrf-token": "x"}), 403)
    foreign = {"x-csrf-token": csrf, "origin": "https://evil.example"}
    problem(api.client.post("/api/v1/link", json=say, headers=foreign), 403)
    assert api.client.post("/api/v1/link", json=say, headers={"x-csrf-token": csrf}).status_code == 200
    problem(api.client.post("/api/v1/link?csrf=x", json=say, headers={"authorization": "Bearer x"}), 401)


# What is refused and how.


def test_what_is_not_there_and_what_cannot_be_done(api: Api) -> None:
    """404 and 405 are problems; Allow says what can be done; HEAD and OPTIONS work."""
    problem(api.ask("GET", "/nonsense"), 404)
    problem(api.client.get("/api/v2/x"), 401)
    problem(api.client.get("/api/v2/x", headers={"authorization": f"Bearer {api.tokens['read']}"}), 404)
    answer = api.ask("PUT", "/settings")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, PATCH"
    options = api.ask("OPTIONS", "/settings", "send")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PATCH")
    assert "access-control-allow-origin" not in options.headers
    head = api.ask("HEAD", "/settings")
    assert head.status_code == 200 and head.headers["etag"] and not head.content
    problem(api.client.get("/api/v1/status", headers={"host": "evil.example"}), 421)


BODIES: Final = [
    ("no JSON", b"{", {}, 400),
    ("NaN", b'{"state": NaN}', {}, 400),
    ("twice the same", b'{"state": "up", "state": "down"}', {}, 400),
    ("no UTF-8", b'{"state": "\xff"}', {}, 400),
    ("too deep", b"[" * 100 + b"]" * 100, {}, 400),
    ("a million deep", b"[" * 500_000, {}, 400),
    ("a number of 5000 digits", b'{"state": ' + b"1" * 5000 + b"}", {}, 400),
    ("no body", b"", {}, 400),
    ("a form", b"state=up", {"content-type": "application/x-www-form-urlencoded"}, 415),
    ("no type", b"{}", {"content-type": ""}, 415),
    ("too long", b'{"state": "' + b"x" * (1 << 20) + b'"}', {}, 413),
    ("a list", b"[]", {}, 422),
    ("an unknown field", b'{"state": "up", "more": 1}', {}, 422),
    ("another value", b'{"state": "sideways"}', {}, 422),
    ("nothing in it", b"{}", {}, 422),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "status"), [r[1:] for r in BODIES], ids=[r[0] for r in BODIES])
def test_bodies_that_cannot_be_used(api: Api, body: bytes, headers: dict[str, str], status: int) -> None:
    """Each is a problem, and nothing is done."""
    given = {"content-type": "application/json", **headers}
    answer = api.ask("POST", "/link", content=body, headers=given)
    problem(answer, status)
    assert not [asked for asked in api.processes.asked if asked[1] in ("link.up", "link.down")]


def test_all_errors_of_a_body_are_told_at_once(api: Api) -> None:
    """Each with its JSON pointer; an unknown field by its name."""
    found = errors(
        api.ask("POST", "/messages", json={"to": ["a\r\nb@x.org", 5], "subject": "a\nb", "cc": []})
    )
    assert set(found) == {"/from", "/to/0", "/to/1", "/subject", "/cc"}
    assert "from, to, subject, text" in found["/cc"]


def test_parameters_that_cannot_be_used(api: Api) -> None:
    """Unknown, twice, of another type, out of range: all at once."""
    found = errors(api.ask("GET", "/queue?limit=0&from=a&from=b&color=red&older_than=soon&after=x"), 400)
    assert set(found) == {"limit", "from", "color", "older_than"}
    assert "after" in errors(api.ask("GET", "/queue?after=x"), 400)


def test_a_part_of_the_server_that_is_away_is_503(api: Api) -> None:
    """In words, with Retry-After; a mistake of ours is 500 and says nothing of it."""

    def away(_: dict[str, Any]) -> Any:
        raise ControlError("link did not answer within 4 s", 75)

    def broken(_: dict[str, Any]) -> Any:
        raise RuntimeError("secret detail")

    api.processes.answers["link", "link.status"] = away
    answer = api.ask("GET", "/link")
    assert "did not answer" in problem(answer, 503)["detail"] and answer.headers["retry-after"]
    api.processes.answers["link", "link.status"] = broken
    assert "secret" not in str(problem(api.ask("GET", "/link"), 500))


def test_tokens_that_cannot_be_read(api: Api, tmp_path: Path) -> None:
    """A damaged file lets nobody in, and says what to do."""
    (tmp_path / "data" / "secrets" / "tokens.json").write_text("{")
    assert "make new tokens" in problem(api.ask("GET", "/status"), 503)["detail"]


def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says that there is more and sends nothing is not waited for; who hangs up is no mistake of ours."""
    monkeypatch.setattr(bodies, "IDLE_S", 0.01)

    async def nothing() -> Any:
        await asyncio.Event().wait()

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def read(receive: Any) -> None:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        await bodies.read_json(request, {})

    for receive, status in ((nothing, 408), (gone, 400)):
        with pytest.raises(ApiError) as caught:
            asyncio.run(read(receive))
        assert caught.value.status == status


# Status, link, history, tokens.


def test_status(api: Api) -> None:
    """What runs and what is wrong; who does not answer is named."""
    api.processes.answers["worker", "status"] = {"number": 0, "sessions": 2, "troubles": ["the disk is full"]}
    api.processes.answers["worker", "troubles"] = {"troubles": ["the disk is full"]}
    found = api.ask("GET", "/status", "read").json()
    assert found["running"] and found["sessions"] == 2 and found["silent"] == []
    assert found["troubles"] == [{"process": "worker-0", "words": "the disk is full"}]
    assert found["attention"][0]["words"] == "The disk is full"
    assert found["delivery"] == {"delivery": "smarthost", "host": "smtp.isp.example", "port": 587}
    api.processes.answers["supervisor", "status"] = None
    assert api.ask("GET", "/status", "read").json()["silent"] == ["supervisor"]
    api.file.write_text("x = [")
    answer = api.ask("GET", "/status", "read")
    assert answer.status_code == 200 and answer.json()["delivery"]["host"] == "", (
        "somebody is editing the file"
    )


def test_link(api: Api) -> None:
    """Up and down by hand."""
    api.processes.answers["link", "link.down"] = {}
    assert api.ask("GET", "/link", "read").json()["state"] == "up"
    api.processes.answers["link", "link.status"] = {"is_down": True, "changed_wall_ms": 1000, "last_kick": ""}
    answer = api.ask("POST", "/link", json={"state": "down"})
    assert answer.json() == {"state": "down", "since": "1970-01-01T00:00:01Z", "last_kick": ""}


def test_the_upstream_server_is_tried(api: Api) -> None:
    """Step by step in words; off line nothing is tried; what is no domain is refused."""
    api.processes.answers["link", "link.status"] = {"is_down": True, "changed_wall_ms": 1000, "last_kick": ""}
    for body in (None, {}, {"domain": "example.net"}):
        found = (
            api.ask("POST", "/test-upstream", json=body).json()
            if body is not None
            else (api.ask("POST", "/test-upstream").json())
        )
        assert not found["is_ok"] and found["steps"][0]["state"] == "failed" and found["steps"][0]["words"]
    assert "/domain" in errors(api.ask("POST", "/test-upstream", json={"domain": "a b"}))


def test_history(api: Api) -> None:
    """Twenty-four hours in steps of five minutes."""
    found = api.ask("GET", "/history", "read").json()
    assert len(found["steps"]) == 288 and found["today"]["accepted"] >= 0
    assert set(found["steps"][0]) == {"time", "in", "out", "refused", "waiting"}


def test_tokens(api: Api) -> None:
    """Made, told once, used, deleted."""
    made = api.ask("POST", "/tokens", json={"name": "a/b shop", "scope": "read"})
    assert made.status_code == 201
    token = {"authorization": f"Bearer {made.json()['token']}"}
    assert api.client.get("/api/v1/status", headers=token).status_code == 200
    problem(api.ask("POST", "/tokens", json={"name": "a/b shop"}), 409)
    listed = api.ask("GET", "/tokens").json()["tokens"]
    assert [each["name"] for each in listed] == ["read", "send", "admin", "a/b shop"]
    assert made.json()["token"] not in json.dumps(listed)
    assert api.ask("DELETE", "/tokens/a%2Fb%20shop").status_code == 204
    problem(api.ask("DELETE", "/tokens/a%2Fb%20shop"), 404)
    assert api.client.get("/api/v1/status", headers=token).status_code == 401


# The queue.


def test_the_queue_in_pages(api: Api) -> None:
    """Rows with why in words; the filter goes to the workers; next leads on."""
    api.processes.answers["worker", "queue.list"] = [ROW]
    found = api.ask("GET", "/queue?limit=1&state=held&older_than=2h&domain=example.net&to=bob", "read").json()
    [row] = found["recipients"]
    assert row["id"] == QUEUE_ID and "greylisting" in row["why"] and row["next_attempt"].endswith("Z")
    assert found["next"] == f"{QUEUE_ID}.0"
    [asked] = [each[2] for each in api.processes.asked if each[1] == "queue.list"]
    assert asked["filter"] == {
        "to": "bob", "domain": "example.net", "states": ["held"], "older_than_ms": 7_200_000,
    }  # fmt: skip
    api.ask("GET", f"/queue?after={found['next']}", "read")
    assert [each[2] for each in api.processes.asked if each[1] == "queue.list"][-1]["after"][1] == 0


def shown(has_content: bool) -> list[dict[str, Any]]:
    octets = b"Subject: x\r\n" + (b"\r\nhello\r\n" if has_content else b"")
    return [{"envelope": ENVELOPE}, {"recipient": ROW}, {"content": base64.b64encode(octets).decode()}]


def test_one_message_and_its_content(api: Api) -> None:
    """Envelope, recipients, header; the content octet for octet; what is not there is 404."""
    api.processes.answers["worker", "queue.show"] = lambda asked: shown(asked["content"])
    found = api.ask("GET", f"/queue/{QUEUE_ID.lower()}", "read").json()
    assert found["header"] == "Subject: x\r\n" and found["recipients"][0]["to"] == "bob@example.net"
    content = api.ask("GET", f"/queue/{QUEUE_ID}/content")
    assert content.headers["content-type"] == "message/rfc822"
    assert content.content == b"Subject: x\r\n\r\nhello\r\n"
    problem(api.ask("GET", "/queue/nonsense"), 404)

    def missing(_: dict[str, Any]) -> Any:
        raise ControlError("it is not in the queue", 67)

    api.processes.answers["worker", "queue.show"] = missing
    problem(api.ask("GET", f"/queue/{QUEUE_ID}"), 404)
    problem(api.ask("GET", f"/queue/{QUEUE_ID}/content"), 404)


def test_actions_on_one_message(api: Api) -> None:
    """Each reaches the workers with its id alone; none in that state is 409, none at all 404."""
    changed: Callable[[dict[str, Any]], Any] = lambda asked: {"recipients": 2}  # noqa: E731
    api.processes.answers["worker", "queue.change"] = api.processes.answers["worker", "queue.bounce"] = (
        changed
    )
    for action in ("flush", "hold", "release", "bounce", "delete"):
        assert api.ask("POST", f"/queue/{QUEUE_ID}/{action}").json() == {"recipients": 2}
        assert api.processes.asked[-1][2]["filter"] == {"ids": [QUEUE_ID]}
    api.ask("POST", f"/queue/{QUEUE_ID}/bounce", json={"because": "closed"})
    assert api.processes.asked[-1][2]["reason_given"] == "closed"
    problem(api.ask("POST", f"/queue/{QUEUE_ID}/delete", json={"because": "closed"}), 422)
    problem(api.ask("POST", f"/queue/{QUEUE_ID}/eat"), 404)
    api.processes.answers["worker", "queue.change"] = {"recipients": 0}
    api.processes.answers["worker", "queue.show"] = shown(has_content=False)
    problem(api.ask("POST", f"/queue/{QUEUE_ID}/release"), 409)


FILTERS: Final = [
    ("nothing said", {"action": "delete"}),
    ("an empty filter", {"action": "delete", "filter": {}}),
    ("both", {"action": "delete", "filter": {"to": "x"}, "all": True}),
    ("all is false", {"action": "delete", "all": False}),
    ("an unknown filter", {"action": "delete", "filter": {"subject": "x"}}),
    ("no queue id", {"action": "delete", "filter": {"ids": ["x"]}}),
    ("no ids", {"action": "delete", "filter": {"ids": []}}),
    ("a line end", {"action": "delete", "filter": {"to": "a\nb"}}),
    ("half a character", {"action": "delete", "filter": {"to": "\ud800"}}),
    ("no action", {"filter": {"to": "x"}}),
]


@pytest.mark.parametrize("body", [row[1] for row in FILTERS], ids=[row[0] for row in FILTERS])
def test_a_filter_that_may_not_mean_everything(api: Api, body: dict[str, Any]) -> None:
    """Refused, and no worker is asked."""
    content = json.dumps(body).encode()
    problem(
        api.ask("POST", "/queue/actions", content=content, headers={"content-type": "application/json"}), 422
    )
    assert not [asked for asked in api.processes.asked if asked[1].startswith("queue.")]


def test_actions_on_a_filter(api: Api) -> None:
    """On what it means, or on everything when that is said."""
    api.processes.answers["worker", "queue.change"] = {"recipients": 3}
    body = {"action": "hold", "filter": {"domain": "example.net", "ids": [QUEUE_ID.lower()]}}
    assert api.ask("POST", "/queue/actions", json=body).json() == {"recipients": 3}
    assert api.processes.asked[-1][2]["filter"] == {"domain": "example.net", "ids": [QUEUE_ID]}
    api.ask("POST", "/queue/actions", json={"action": "flush", "all": True})
    assert api.processes.asked[-1][2] == {"change": "flush", "filter": {}}


# Users and aliases.


def test_users_and_aliases(api: Api, tmp_path: Path) -> None:
    """Made, listed, changed, deleted; what is there already is 409, what is not 404."""
    (tmp_path / "data").mkdir(exist_ok=True)
    anna = {"address": "Anna", "password": "correct horse"}
    assert api.ask("POST", "/users", json=anna).json() == {"address": "anna@example.org"}
    problem(api.ask("POST", "/users", json=anna), 409)
    problem(api.ask("POST", "/users", json={**anna, "address": "x@example.net"}), 422)
    [user] = api.ask("GET", "/users", "read").json()["users"]
    assert user["address"] == "anna@example.org" and user["created"].endswith("Z")
    assert api.ask("PATCH", "/users/anna@example.org", json={"password": "battery staple"}).status_code == 200
    problem(api.ask("PATCH", "/users/bob", json={"password": "battery staple"}), 404)
    sales = {"address": "a/b@example.org", "targets": ["anna", "bob@example.net"]}
    made = api.ask("POST", "/aliases", json=sales)
    assert made.status_code == 201 and made.json()["targets"] == ["anna@example.org", "bob@example.net"]
    problem(api.ask("POST", "/aliases", json=sales), 409)
    assert api.ask("POST", "/aliases", json={**sales, "replace": True}).status_code == 201
    assert api.ask("GET", "/aliases?q=a/b", "read").json()["count"] == 1
    assert api.ask("DELETE", "/aliases/a%2Fb@example.org").status_code == 204
    problem(api.ask("DELETE", "/aliases/a%2Fb@example.org"), 404)
    problem(api.ask("DELETE", "/aliases/%00"), 404)
    problem(api.ask("DELETE", "/users/anna@example.net"), 404)
    assert api.ask("DELETE", "/users/anna").status_code == 204
    assert api.ask("GET", "/users", "read").json() == {"users": [], "count": 0}
