"""The settings by the API: all of them shown, each of them changed, what is wrong said at its place."""

import asyncio
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.web.api.problems import pointer_of
from tests.unit.web.test_api import Api, errors, problem


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(tmp_path)


def in_file(api: Api, key: str) -> Any:
    """What the file has for a key; None for nothing."""
    found: Any = tomllib.loads(api.file.read_text())
    for part in key.split("."):
        found = found.get(part, {})
    return None if found == {} else found


def tables(key: str, value: Any) -> dict[str, Any]:
    """A dotted key as tables within tables."""
    for part in reversed(key.split(".")):
        value = {part: value}
    found: dict[str, Any] = value
    return found


def test_all_settings_with_what_they_mean(api: Api) -> None:
    """Nested as in the file, and one by one with default, kind, unit and sentence; what is drafted on the
    page is shown as such."""
    api.context.desk.change({"smtp.port": 465}, "anna")
    answer = api.ask("GET", "/settings", "read")
    found = answer.json()
    assert found["values"]["smtp"]["port"] == 587 and found["values"]["smtp"]["advanced"]["timeout"] == "30s"
    assert found["values"]["listener"] == [{"kind": "smtp", "address": "127.0.0.1:2525"}]
    by_key = {each["key"]: each for each in found["settings"]}
    port = by_key["smtp.port"]
    assert (port["value"], port["default"], port["draft"], port["is_changed"]) == (587, 25, 465, True)
    assert by_key["smtp.tls"]["choices"] and by_key["smtp.advanced.timeout"]["unit"]
    assert by_key["tls.key_file"]["file_only"] and by_key["host.workers"]["at_restart"]
    for each in found["settings"]:
        assert each["sentence"] or each["kind"] == "tables", each["key"]
        assert each["pointer"] == pointer_of(each["key"])


# Another value of each kind; a key of its own where a check wants more than that.
_OTHER: Final[dict[str, Any]] = {
    "number": 1234,
    "decimal": 1.5,
    "duration": "47s",
    "size": "70MiB",
    "text": "other.example",
    "list": ["other.example"],
}
_OF_KEY: Final[dict[str, Any]] = {
    "host.hostname": "other.example.org",
    "host.domains": ["example.org", "example.net"],
    "host.workers": 2,
    "listener": [{"kind": "smtp", "address": "127.0.0.1:2526"}],
    "forward": [{"domain": "branch.example", "host": "192.0.2.7:25"}],
    "site": [{"name": "ship", "domains": ["ship.example"], "user": "ship@example.org"}],
    "collect": [
        {"name": "x", "protocol": "imap", "host": "a.example", "username": "x", "to": "anna@example.org",
         "password": "s3cret!"}
    ],
    "link.via": [{"name": "fibre", "device": ["eth0"]}],
    "link.probe": "192.0.2.1:443",
    "exchange.every": "47m",
    "exchange.at": ["08:00", "22:00-06:00"],
    "exchange.oldest": "47m",
    "exchange.longest": "47m",
    "link.kick": [{"method": "etrn", "host": "mx.isp.example"}],
    "relay.networks": ["127.0.0.0/8", "192.0.2.0/24"],
    "queue.retry": ["1m", "2m"],
    "queue.delay_notice": "2h",
    "local.separator": "-",
    "local.lmtp": "127.0.0.1:24",
    "dns.servers": ["127.0.0.1:5353"],
    "admin.address": "127.0.0.1:8026",
    "smtp.host": "other.isp.example",
    "smtp.username": "anna",
    "log.keep": "10d",
}  # fmt: skip
_WITH: Final[dict[str, dict[str, Any]]] = {"local.delivery": {"local": {"lmtp": "127.0.0.1:24"}}}


def keys() -> list[str]:
    """All settings, as the desk of an empty file has them."""
    from cmail.app.catalog import read_catalog
    from cmail.app.desk_values import all_settings
    from cmail.app.settings import Settings

    return [key for key, _ in all_settings(read_catalog(Settings))]


def without_passwords(api: Api, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as they are to be in the file: it names the files that have their passwords now."""
    found = []
    for row, kept in zip(rows, in_file(api, "collect"), strict=True):
        assert Path(kept["password_file"]).read_text() == row["password"] + "\n"
        more = {"password_file": kept["password_file"]}
        found.append({**{name: each for name, each in row.items() if name != "password"}, **more})
    return found


@pytest.mark.parametrize("key", keys())
def test_each_setting_can_be_changed_and_brought_back(api: Api, key: str) -> None:
    """PATCH writes it into the file and has the server read it anew; null brings back the default. What
    names a path or a program is refused in words."""
    view = api.context.desk.settings()[key]
    value = _OF_KEY.get(key, _OTHER.get(view.kind))
    if view.kind == "switch":
        value = not view.saved
    elif view.kind == "choice":
        value = next(choice for choice in view.choices if choice != view.saved)
    if view.is_file_only:
        answer = api.ask("PATCH", "/settings", json=tables(key, _OF_KEY.get(key, "/tmp/x")))
        assert "in the file only" in errors(answer, 403)[pointer_of(key)]
        return
    assert value is not None, f"no other value for {key} ({view.kind})"
    body = tables(key, value)
    for table, more in _WITH.get(key, {}).items():
        body[table] |= more
    answer = api.ask("PATCH", "/settings", json=body)
    assert answer.status_code == 200, answer.text
    if key == "collect":
        value = without_passwords(api, value)
    assert in_file(api, key) == value and answer.json()["is_applied"]
    assert key in {change["key"] for change in answer.json()["changes"]}
    assert bool(answer.json()["notes"]) == view.is_at_restart
    assert ("supervisor", "reload", {}) in api.processes.asked
    shown = {each["key"]: each for each in api.ask("GET", "/settings").json()["settings"]}
    assert shown[key]["value"] == value and shown[key]["is_in_file"]
    if view.default is not None and key != "host.hostname":
        assert api.ask("PATCH", "/settings", json=tables(key, None)).status_code == 200
        assert in_file(api, key) is None


def test_all_errors_at_once_and_nothing_is_changed(api: Api) -> None:
    """Each at its JSON pointer, with an example where there is one; unknown keys, tables, file-only keys too."""
    before = api.file.read_text()
    body = {
        "smtp": {"port": 70000, "nonsense": 1, "password": 5, "host": ["a"], "advanced": {"timeout": "soon"}},
        "tls": {"key_file": "/etc/shadow"},
        "listener": [
            {"kind": "pigeon", "address": "127.0.0.1:1"},
            {"kind": "smtp", "address": "x", "more": 1},
        ],
        "queue": 5,
        "a/b": {"c~d": 1},
        "smtp.port": 25,
        "host": {"domains": ["example.org\r\n"]},
        "dns": {},
    }
    answer = api.ask("PATCH", "/settings", json=body)
    found = errors(answer)
    assert {
        "/smtp/port", "/smtp/nonsense", "/smtp/password", "/smtp/host", "/smtp/advanced/timeout", "/tls/key_file",
        "/listener/0/kind", "/listener/1/address", "/listener/1/more", "/queue", "/a~1b/c~0d", "/smtp.port",
        "/dns",
    } <= set(found)  # fmt: skip
    assert any(pointer.startswith("/host/domains") for pointer in found)
    assert "lifetime" in found["/queue"]
    examples = {each["pointer"]: each.get("example") for each in answer.json()["errors"]}
    assert examples["/smtp/port"]
    assert api.file.read_text() == before and not api.context.desk.changes()
    assert ("supervisor", "reload", {}) not in api.processes.asked


ODD: Final[list[Any]] = [
    {"smtp": None},
    {"smtp": {"port": {"x": 1}}},
    {"smtp": {"port": [None]}},
    {"smtp": {"port": True}},
    {"smtp": {"port": 1e300}},
    {"smtp": {"port": 10**17}},
    {"smtp": {"host": "a\nb"}},
    {"smtp": {"host": "\x00"}},
    {"smtp": {"host": [[1]]}},
    {"listener": {"kind": "smtp"}},
    {"listener": [1]},
    {"listener": [{}]},
    {"listener": [{"kind": None, "address": "127.0.0.1:1"}]},
    {"listener": [{"kind": ["smtp"], "address": {"a": {"b": 1}}}]},
    {"listener": [{"kind": "lmtp", "address": "unix:/etc/passwd"}]},
    {"local": {"lmtp": "unix:/run/x"}},
    {"": {"": 1}},
    {"host": {"hostname": None, "": 1}},
    [],
    5,
]


@pytest.mark.parametrize("body", ODD, ids=str)
def test_what_cannot_be_a_setting_is_refused(api: Api, body: Any) -> None:
    """Of any shape: a problem in words, and the file as it was."""
    before = api.file.read_text()
    assert api.ask("PATCH", "/settings", json=body).status_code in (403, 422)
    assert api.file.read_text() == before


def test_a_patch_leaves_the_draft_of_the_page(api: Api) -> None:
    """It applies its own keys; what somebody has drafted waits for Save Settings, and saves."""
    api.context.desk.change({"smtp.advanced.timeout": "45s"}, "anna")
    assert api.ask("PATCH", "/settings", json={"smtp": {"port": 2525}}).status_code == 200
    assert in_file(api, "smtp.advanced.timeout") is None
    assert [change.key for change in api.context.desk.changes()] == ["smtp.advanced.timeout"]
    asyncio.run(api.context.desk.save("anna", {}))
    assert in_file(api, "smtp.advanced.timeout") == "45s" and in_file(api, "smtp.port") == 2525


def test_if_match(api: Api) -> None:
    """Who looked before somebody else changed something is told so."""
    tag = {"if-match": api.ask("GET", "/settings").headers["etag"]}
    assert api.ask("PATCH", "/settings", json={"smtp": {"port": 25}}, headers=tag).status_code == 200
    problem(api.ask("PATCH", "/settings", json={"smtp": {"port": 26}}, headers=tag), 412)
    assert in_file(api, "smtp.port") == 25


def test_a_password_can_be_written_and_not_read(api: Api) -> None:
    """It stands in a file of its own, in no answer, in no settings file."""
    body = {"smtp": {"username": "anna", "password": "s3cret!"}}
    answer = api.ask("PATCH", "/settings", json=body)
    assert answer.status_code == 200 and "s3cret" not in answer.text
    assert Path(in_file(api, "smtp.password_file")).read_text() == "s3cret!\n"
    assert "s3cret" not in api.ask("GET", "/settings").text + api.file.read_text()
    assert (
        api.ask("PATCH", "/settings", json={"smtp": {"password": None, "username": None}}).status_code == 200
    )
    assert in_file(api, "smtp.password_file") is None


def test_versions(api: Api) -> None:
    """Each saving is one, with who changed what; any can be brought back."""
    first = api.file.read_text()
    api.ask("PATCH", "/settings", json={"smtp": {"port": 2525}})
    newest, oldest = api.ask("GET", "/settings/versions", "read").json()["versions"]
    assert newest["by"] == "token admin" and newest["saved"].endswith("Z")
    assert newest["changes"] == [{"key": "smtp.port", "old": "587", "new": "2525"}]
    answer = api.ask("POST", f"/settings/versions/{oldest['number']}/restore")
    assert answer.json() == {"notes": []} and api.file.read_text() == first
    for number in ("0", "99", "x", "-1", "9" * 30):
        problem(api.ask("POST", f"/settings/versions/{number}/restore"), 404)


def test_a_file_that_is_broken_by_hand_is_said(api: Api) -> None:
    """503 with the words of the parser, for looking and for changing; mail goes on with what it has."""
    api.file.write_text("[smtp\n")
    assert "TOML" in problem(api.ask("GET", "/settings"), 503)["detail"]
    problem(api.ask("PATCH", "/settings", json={"smtp": {"port": 1}}), 503)
    assert api.file.read_text() == "[smtp\n"


def test_a_server_that_does_not_take_it_over_is_said(api: Api) -> None:
    """The file is written; the answer says that the server goes on with the old settings."""
    api.processes.answers["supervisor", "reload"] = None
    answer = api.ask("PATCH", "/settings", json={"smtp": {"port": 2525}})
    assert answer.status_code == 200 and not answer.json()["is_applied"]
    assert "did not take it over" in answer.json()["notes"][0]


ACCOUNT: Final = {
    "name": "x",
    "protocol": "imap",
    "host": "a.example",
    "username": "x",
    "to": "anna@example.org",
}


def test_passwords_of_rows_can_be_written_and_not_read(api: Api) -> None:
    """Each in a file of its own; a row that keeps its password_file keeps its password, one that goes takes it
    along; what is no text is refused, and nothing is written then."""
    other = {**ACCOUNT, "name": "y", "username": "y", "password": "second"}
    rows = [{**ACCOUNT, "password": "s3cret!"}, other]
    answer = api.ask("PATCH", "/settings", json={"collect": rows})
    assert answer.status_code == 200 and "s3cret!" not in answer.text
    assert "s3cret!" not in api.ask("GET", "/settings").text
    kept = in_file(api, "collect")
    first, second = (Path(row["password_file"]) for row in kept)
    assert first.read_text() == "s3cret!\n" and first.stat().st_mode & 0o777 == 0o600 and first != second
    body = {"collect": [{**kept[0], "host": "b.example"}]}
    assert api.ask("PATCH", "/settings", json=body).status_code == 200
    assert first.exists() and not second.exists(), "it went with its row"
    body = {"collect": [{**kept[0], "password": 5}]}
    assert "/collect/0/password" in errors(api.ask("PATCH", "/settings", json=body), 422)
    body = {"collect": [{**kept[0], "password": "a\nb"}]}
    assert "/collect/0/password_file" in errors(api.ask("PATCH", "/settings", json=body), 422)
    assert [path.name for path in first.parent.iterdir() if "password" in path.name] == [first.name]


@pytest.mark.parametrize("key", ["password_file", "command"])
def test_rows_that_name_a_path_or_a_program_are_refused(api: Api, key: str) -> None:
    """Whatever else is right with them: that is for the file alone."""
    row = {"method": "command", "command": ["/bin/sh"]}
    if key == "password_file":
        row = {"method": "etrn", "host": "a.example", "username": "x", "password_file": "/etc/shadow"}
    wrong = errors(api.ask("PATCH", "/settings", json={"link": {"kick": [row]}}), 403)
    assert "in the file only" in wrong[f"/link/kick/0/{key}"]
    assert in_file(api, "link.kick") is None
