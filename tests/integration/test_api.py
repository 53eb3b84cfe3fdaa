"""The API of a running server: mail that is injected arrives, settings that are changed hold, nothing is lost."""

import asyncio
import json
import os
import pwd
import smtplib
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.sink_mx import SinkMx

WITH_PAGE: Final = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
RAW: Final = {"content-type": "message/rfc822"}
HELLO: Final = {
    "from": "shop@example.org",
    "to": ["anna@example.org"],
    "subject": "Grüße",
    "text": "Hallo!\n",
}


class Api:
    """A client of the API of a server, with a token that a command has made."""

    def __init__(self, cmail: RunningCmail, scope: str = "admin") -> None:
        self.cmail = cmail
        self._headers = {"authorization": f"Bearer {token(cmail, scope)}"}

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        url = f"http://127.0.0.1:{self.cmail.port('admin')}/api/v1{path}"
        headers = {**self._headers, **more.pop("headers", {})}
        return httpx2.request(method, url, headers=headers, timeout=60, **more)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        more = {} if body is None else {"json": body}
        answer = self.ask("POST", path, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    def patch(self, body: Any) -> Any:
        answer = self.ask("PATCH", "/settings", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["is_applied"], answer.text
        return answer.json()


def cli(cmail: RunningCmail, *words: str) -> str:
    """What a command prints on standard output."""
    command = [sys.executable, "-m", "cmail", *words, "--config", str(cmail.config)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def token(cmail: RunningCmail, scope: str) -> str:
    """A new one, printed alone."""
    said = cli(cmail, "token", "add", f"{scope}-{len(cmail.log())}", "--scope", scope)
    assert said.startswith("cmail_") and len(said.split()) == 1
    return said.strip()


def test_mail_as_json_and_as_it_is(tmp_path: Path) -> None:
    """It arrives in a mailbox here with what submission adds, LF made CRLF and Bcc taken out, small and
    large; who does not exist is named, and then nobody gets it."""
    with RunningCmail(tmp_path, settings=WITH_PAGE) as cmail:
        api = Api(cmail, "send")
        accepted = api.post("/messages", HELLO, 202)
        [composed] = cmail.wait_for_mail("anna@example.org")
        assert (
            accepted["id"].encode() in composed and b"\nDate: " in composed and b"\nMessage-ID: <" in composed
        )
        assert b"(CMail, API, token send-" in composed and b"Subject: =?utf-8?B?R3LDvMOfZQ==?=" in composed
        large = b"".join(b"line %07d\n" % number for number in range(200_000)) + b"..\n.\nend"
        header = b"From: x@example.org\nBcc: secret@example.org,\n other@example.org\nSubject: s\n"
        for number, body in enumerate((b".dot\nend", large), 2):
            path = "/messages?from=x@example.org&to=anna%2Bshop@example.org"
            answer = api.ask("POST", path, content=header + b"\n" + body, headers=RAW)
            assert answer.status_code == 202, answer.text
            mail = cmail.wait_for_mail("anna@example.org", number)[-1]
            head, _, got = mail.replace(b"\r\n", b"\n").partition(b"\n\n")
            assert got.rstrip(b"\n") == body and b"secret" not in head and b"other@" not in head
            assert b"Message-ID" in head
        refused = api.ask(
            "POST", "/messages", json={**HELLO, "to": ["anna@example.org", "nobody@example.org"]}
        )
        assert refused.status_code == 422 and refused.json()["errors"][0]["pointer"] == "/to/1"
        path = "/messages?from=x@example.org&to=anna@example.org"
        for octets in (
            b"no header at all\n",
            b"\nonly a body\n",
            b"",
            b"From: a@b.org\nFrom: c@d.org\n\nx\n",
        ):
            answer = api.ask("POST", path, content=octets, headers=RAW)
            assert answer.status_code == 422 and answer.json()["detail"], octets
        assert api.ask("GET", "/status").status_code == 403
        wait_for(lambda: not cmail.queue(), "an empty queue")
        assert len(cmail.mailbox("anna@example.org")) == 3
        assert not list((cmail.data / "admin" / "incoming").iterdir())
        assert "Traceback" not in cmail.log()


def test_nothing_that_was_accepted_is_lost_in_a_power_cut(tmp_path: Path) -> None:
    """Each 202 is in the queue after everything was killed at once and started again."""
    down = '[smtp]\nhost = "127.0.0.1"\nport = 1\n'
    with RunningCmail(tmp_path, settings=WITH_PAGE, more=down) as cmail:
        api = Api(cmail)
        api.post("/link", {"state": "down"})
        large = b"From: x@example.org\nSubject: s\n\n" + b"x" * 900 * 1024
        ids = []
        for number in range(20):
            if number % 5:
                answer = api.ask("POST", "/messages", json={**HELLO, "to": [f"to{number}@example.net"]})
            else:
                path = f"/messages?from=x@example.org&to=to{number}@example.net"
                answer = api.ask("POST", path, content=large, headers=RAW)
            assert answer.status_code == 202
            ids.append(answer.json()["id"])
        cmail.kill()
        cmail.start()
        waiting = api.get("/queue?limit=1000")["recipients"]
        assert sorted(row["id"] for row in waiting) == sorted(ids)
        assert len({row["to"] for row in waiting}) == 20


def give_to_server(cmail: RunningCmail) -> None:
    """Folder and file of the settings: to the user that it runs as, so that it can save them."""
    if os.geteuid() == 0:
        owner = pwd.getpwnam("nobody")
        for path in (cmail.folder, cmail.config):
            os.chown(path, owner.pw_uid, owner.pw_gid)


def in_the_world(
    folder: Path,
    body: Callable[[RunningCmail, SinkMx], None],
    script: Mapping[str, bytes | str] | None = None,
) -> None:
    """A server whose upstream server is a sink."""

    async def main() -> None:
        async with SinkMx(script or {}) as sink:
            more = f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n'

            def run() -> None:
                cmail = RunningCmail(folder, settings=WITH_PAGE, more=more)
                give_to_server(cmail)
                with cmail:
                    body(cmail, sink)

            await asyncio.to_thread(run)

    asyncio.run(main())


def test_the_queue(tmp_path: Path) -> None:
    """Injected, put off by the next server, looked at, held, released, returned, deleted, sent."""

    def body(cmail: RunningCmail, sink: SinkMx) -> None:
        api = Api(cmail)
        anna = "anna@example.org"
        ids = [
            api.post("/messages", {**HELLO, "from": anna, "to": [f"bob{n}@example.net"]}, 202)["id"]
            for n in range(3)
        ]
        wait_for(lambda: len(api.get("/queue?reason=grey")["recipients"]) == 3, "all to be put off")
        rows = api.get("/queue?domain=example.net&limit=2")
        assert [row["id"] for row in rows["recipients"]] == ids[:2] and rows["next"]
        assert "greylisting" in rows["recipients"][0]["why"]
        rest = api.get(f"/queue?domain=example.net&limit=2&after={rows['next']}")
        assert [row["id"] for row in rest["recipients"]] == ids[2:] and rest["next"] is None
        shown = api.get(f"/queue/{ids[0]}")
        assert (
            shown["from"] == anna
            and "by API" in shown["origin"]
            and "\r\nTo: bob0@example.net" in shown["header"]
        )
        content = api.ask("GET", f"/queue/{ids[0]}/content")
        assert len(content.content) == shown["size"] and content.content.startswith(b"Received: ")
        assert api.post(f"/queue/{ids[0]}/hold") == {"recipients": 1}
        assert [row["id"] for row in api.get("/queue?state=held")["recipients"]] == [ids[0]]
        assert api.ask("POST", f"/queue/{ids[0]}/hold").status_code == 409
        assert api.post(f"/queue/{ids[1]}/bounce", {"because": "The shop is closed."}) == {"recipients": 1}
        assert b"The shop is closed." in cmail.wait_for_mail(anna)[0]
        assert api.ask("GET", f"/queue/{ids[1]}").status_code == 404
        assert api.post("/queue/actions", {"action": "delete", "filter": {"to": "bob2"}}) == {"recipients": 1}
        sink.script = {}
        api.post(f"/queue/{ids[0]}/release")
        api.post("/queue/actions", {"action": "flush", "all": True})
        wait_for(lambda: sink.taken, "the sink to have it")
        assert [taken.recipients for taken in sink.taken] == [["RCPT TO:<bob0@example.net>"]]
        wait_for(lambda: not api.get("/queue")["recipients"], "the queue to be empty")

    in_the_world(tmp_path, body, {"RCPT": b"451 4.7.1 greylisted\r\n"})


def test_settings_hold_at_once(tmp_path: Path) -> None:
    """Each stands in the file, comments kept, and in the server that runs; no session is dropped."""

    def body(cmail: RunningCmail, sink: SinkMx) -> None:
        cmail.config.write_text("# our office\n" + cmail.config.read_text())
        api = Api(cmail)
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp")) as open_session:
            open_session.ehlo()
            api.patch(
                {"smtp": {"advanced": {"max_message_size": "1MiB"}}, "host": {"hostname": "new.example.org"}}
            )
            api.patch({"host": {"domains": ["example.org", "example.com"]}, "limits": {"recipients": 200}})
            listeners = api.get("/settings")["values"]["listener"]
            api.patch({"listener": [*listeners, {"kind": "lmtp", "address": "127.0.0.1:0"}]})
            assert open_session.noop()[0] == 250
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp")) as client:
            assert b"new.example.org" in client.ehlo()[1] and client.esmtp_features["size"] == str(1 << 20)
            client.docmd("MAIL FROM:<x@example.net>")
            assert client.docmd("RCPT TO:<nobody@example.com>")[0] == 550  # ours now, and nobody there
        with smtplib.LMTP("127.0.0.1", cmail.port("lmtp")) as client:
            assert client.ehlo()[0] == 250
        answer = api.ask(
            "POST", "/messages?from=x@example.org&to=anna@example.org", headers=RAW, content=b"x" * 2**21
        )
        assert answer.status_code == 413
        text = cmail.config.read_text()
        assert text.startswith("# our office\n")
        table = tomllib.loads(text)
        assert table["smtp"]["advanced"]["max_message_size"] == "1MiB"
        assert table["host"]["hostname"] == "new.example.org" and len(table["listener"]) == 3
        api.patch({"smtp": {"delivery": "smarthost", "host": "127.0.0.1", "port": 1}})
        api.post("/messages", {**HELLO, "to": ["bob@example.net"]}, 202)
        wait_for(lambda: [row for row in api.get("/queue")["recipients"] if row["attempts"] or row["reason"]])
        api.patch({"smtp": {"port": sink.port}})
        wait_for(lambda: sink.taken, "the sink to have it")
        before = cmail.config.read_text()
        wrong = api.ask("PATCH", "/settings", json={"smtp": {"port": 0, "tls": "maybe"}})
        assert {each["pointer"] for each in wrong.json()["errors"]} == {"/smtp/port", "/smtp/tls"}
        assert cmail.config.read_text() == before
        versions = api.get("/settings/versions")["versions"]
        assert len(versions) == 6 and versions[0]["by"].startswith("token admin-")
        api.post(f"/settings/versions/{versions[-1]['number']}/restore")
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp")) as client:
            assert b"mail.example.org" in client.ehlo()[1]

    in_the_world(tmp_path, body)


def test_users_and_aliases_hold_at_once(tmp_path: Path) -> None:
    """Who was made gets mail, who was deleted is refused, from the answer on."""
    with RunningCmail(tmp_path, settings=WITH_PAGE) as cmail:
        api = Api(cmail)

        def rcpt(address: str) -> int:
            with smtplib.SMTP("127.0.0.1", cmail.port("smtp")) as client:
                client.ehlo()
                client.docmd("MAIL FROM:<>")
                return client.docmd(f"RCPT TO:<{address}>")[0]

        assert rcpt("carl@example.org") == 550
        api.post("/users", {"address": "carl", "password": "correct horse"}, 201)
        api.post("/aliases", {"address": "sales", "targets": ["carl", "anna"]}, 201)
        assert rcpt("carl@example.org") == rcpt("sales@example.org") == 250
        assert [user["address"] for user in api.get("/users")["users"]] == [
            "anna@example.org",
            "carl@example.org",
        ]
        assert api.ask("DELETE", "/aliases/sales@example.org").status_code == 204
        assert api.ask("DELETE", "/users/carl@example.org").status_code == 204
        assert rcpt("carl@example.org") == rcpt("sales@example.org") == 550


def test_status_and_the_log_as_it_happens(tmp_path: Path) -> None:
    """The status is that of `cmail status --json`; the stream tells of a message as it comes in."""
    with RunningCmail(tmp_path, settings=WITH_PAGE) as cmail:
        api = Api(cmail)
        by_command = json.loads(cli(cmail, "status", "--json"))
        by_api = api.get("/status")
        assert api.post("/link", {"state": "down"})["state"] == "down"
        assert api.get("/link")["since"] and api.get("/status")["link"]["is_down"]
        assert api.post("/link", {"state": "up"})["state"] == "up"
        assert set(by_command) <= set(by_api)
        assert "No upstream server is named" in str(by_api["attention"])
        for name in ("pid", "listeners", "running", "delivery", "config", "data_dir"):
            assert by_api[name] == by_command[name], name
        seen: list[dict[str, Any]] = []
        is_open = threading.Event()

        def read() -> None:
            url = f"http://127.0.0.1:{cmail.port('admin')}/api/v1/log/stream?kind=accepted"
            with httpx2.stream("GET", url, headers=api._headers, timeout=60) as answer:
                for line in answer.iter_lines():
                    if line.startswith("event: place"):
                        is_open.set()
                    if line.startswith('data: {"'):
                        seen.append(json.loads(line[6:]))
                        return

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert is_open.wait(60)
        accepted = api.post("/messages", HELLO, 202)
        reader.join(60)
        assert seen and seen[0]["id"] == accepted["id"] and seen[0]["kind"] == "accepted"
        found = api.get(f"/log?q={accepted['id']}")["events"]
        assert {event["id"] for event in found} == {accepted["id"]}
        assert cli(cmail, "token", "list", "--json").count("admin") >= 1
