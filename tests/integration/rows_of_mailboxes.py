"""Mailboxes elsewhere: how each column of their rows shows outside."""

from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from tests.support.controls import House
from tests.support.house import wait_for
from tests.support.rows import Hears, add, column
from tests.support.scripted_imap import ScriptedImap
from tests.support.scripted_pop3 import ScriptedPop3

MAIL: Final = b"From: bob@example.net\r\nSubject: from elsewhere\r\n\r\nHello.\r\n"
_NUMBERS: Final = count(1)  # no two messages are the same to the ledger


def pop3(house: House, text: bytes = MAIL, **more: Any) -> ScriptedPop3:
    """A mailbox with a message."""
    number = next(_NUMBERS)
    message = b"Message-ID: <%d@example.net>\r\n" % number + text
    return house.peers.start(ScriptedPop3([(f"uid-{number}", message)], **more))


def imap(house: House, **more: Any) -> ScriptedImap:
    number = next(_NUMBERS)
    message = b"Message-ID: <%d@example.net>\r\n" % number + MAIL
    return house.peers.start(ScriptedImap({number: message}, **more))


def collected(house: House, server: Any, typed: dict[str, str | bool]) -> dict[str, Any]:
    """The account is added, and its mail is here; the row of the file."""
    first: dict[str, str | bool] = {
        "name": "anna",
        "protocol": "pop3" if isinstance(server, ScriptedPop3) else "imap",
        "host": "127.0.0.1",
        "port": str(server.port),
        "tls": "none",
        "username": "anna4711",
        "to": "anna@example.org",
        "every": "0s",
        "idle": False,
    }
    to = str(typed.get("to", first["to"]))
    before = len(house.cmail.mailbox(to))
    row = add(house, "collect", {**first, **typed}, "s3cret!")
    house.cmail.wait_for_mail(to, before + 1)
    return row


def heard(house: House, server: Any, begins: Sequence[str]) -> str:
    """The first line that begins so."""
    lines = wait_for(lambda: [line for line in server.heard if line.startswith(tuple(begins))], str(begins))
    return str(lines[0])


@column("collect.name")
def _(house: House) -> None:
    collected(house, pop3(house), {"name": "office"})
    assert [row["name"] for row in house.cmail.ask("link", "collect.status")["accounts"]] == ["office"]


@column("collect.protocol")
def _(house: House) -> None:
    server = imap(house)
    collected(house, server, {"protocol": "imap"})
    assert heard(house, server, ["LOGIN", "AUTHENTICATE"])


@column("collect.host")
def _(house: House) -> None:
    collected(house, pop3(house, host="127.0.0.2"), {"host": "127.0.0.2"})


@column("collect.port")
def _(house: House) -> None:
    server = pop3(house)
    collected(house, server, {"port": str(server.port)})


@column("collect.tls")
def _(house: House) -> None:
    with Hears() as there:
        typed: dict[str, str | bool] = {"protocol": "imap", "host": "127.0.0.1", "port": str(there.port)}
        more: dict[str, str | bool] = {
            "name": "a",
            "username": "a",
            "to": "anna@example.org",
            "tls": "implicit",
        }
        add(house, "collect", {**typed, **more}, "s3cret!")
        wait_for(lambda: there.heard, "a connection")
        assert there.heard[0][:1] == b"\x16", "a handshake"


@column("collect.username")
def _(house: House) -> None:
    server = pop3(house)
    collected(house, server, {"username": "carl99"})
    assert heard(house, server, ["USER"]) == "USER carl99"


@column("collect.password_file")
def _(house: House) -> None:
    """As it was typed, without a restart; in a file that only the server can read, gone with the account."""
    server = pop3(house)
    row = collected(house, server, {})
    assert heard(house, server, ["PASS"]) == "PASS s3cret!"
    [kept] = (house.cmail.data / "secrets").glob("collect-password-*")
    assert str(kept) == row["password_file"] and kept.stat().st_mode & 0o777 == 0o600
    form = next(form for form in house.browser.get("/collect").forms if form.action == "/collect/1/delete")
    house.browser.send(form.action, form.values)
    house.save()
    wait_for(lambda: not kept.exists(), "it to be gone")
    assert house.cmail.ask("link", "collect.status")["accounts"] == []


@column("collect.to")
def _(house: House) -> None:
    collected(house, pop3(house), {"to": "carl@example.org"})


@column("collect.folder")
def _(house: House) -> None:
    server = imap(house)
    collected(house, server, {"folder": "Orders"})
    assert "Orders" in heard(house, server, ["SELECT"])


@column("collect.keep")
def _(house: House) -> None:
    server = pop3(house)
    collected(house, server, {"keep": True})
    heard(house, server, ["QUIT"])
    assert len(server.messages) == 1


@column("collect.largest")
def _(house: House) -> None:
    server = pop3(house, MAIL + b"Hello once more.\r\n" * 1000)
    collected(house, server, {"largest": "2KiB"})
    assert heard(house, server, ["TOP"]) and not server.retrieved, "a preview"


@column("collect.every")
def _(house: House) -> None:
    server = pop3(house)
    collected(house, server, {"every": "10s"})
    wait_for(lambda: server.sessions > 1, "another collection")


@column("collect.idle")
def _(house: House) -> None:
    server = imap(house, capabilities="IMAP4rev1 UIDPLUS IDLE")
    collected(house, server, {"idle": True})
    heard(house, server, ["IDLE"])
