"""Mailboxes elsewhere: messages into a Dovecot's boxes, and the [[collect]] that fetches them from there."""

import imaplib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.support.dovecot_server import DovecotServer

USER: Final = "anna@isp.example"
PASSWORD: Final = 's3"cr\\et'
HEAD: Final = (
    "Return-Path: <bert@example.net>\r\nDelivered-To: {to}\r\nReceived: from a.example by isp.example with"
    " ESMTP id {n} for <{to}>; Tue, 5 Jan 2027 10:00:00 +0000\r\nFrom: Bert <bert@example.net>\r\nTo:"
    " anna@isp.example\r\nDate: Tue, 05 Jan 2027 10:00:00 +0000\r\nSubject: number {n}\r\nMessage-ID:"
    " <{n}@example.net>\r\n\r\n"
)


def message(number: int, size: int = 100, to: str = USER) -> bytes:
    """One that Validation lets in, with dots where they hurt."""
    body = ".\r\n..\r\n.dot\r\n" + "x" * 70 + "\r\n"
    return HEAD.format(n=number, to=to).encode() + (body * (1 + size // len(body))).encode()


def put(dovecot: DovecotServer, messages: Sequence[bytes], user: str = USER, folder: str = "INBOX") -> None:
    """Append them to a box, in this order."""
    with imaplib.IMAP4("127.0.0.1", dovecot.imap_port) as client:
        client.login(user, PASSWORD)
        if folder != "INBOX":
            client.create(folder)
        for each in messages:
            status, said = client.append(folder, "", "", each)  # type: ignore[arg-type]
            assert status == "OK", said


def left(dovecot: DovecotServer, user: str = USER, folder: str = "INBOX") -> list[bytes]:
    """The flags of what is in a box: nothing else may have changed."""
    with imaplib.IMAP4("127.0.0.1", dovecot.imap_port) as client:
        client.login(user, PASSWORD)
        _, [count] = client.select(folder, readonly=True)
        if count in (b"0", None):
            return []
        _, found = client.fetch("1:*", "(FLAGS)")
        return [each for each in found if isinstance(each, bytes)]


def account(place: Path, name: str, protocol: str, port: int, **more: Any) -> str:
    """One [[collect]], with its password in a file."""
    password = place / f"password-{name}"
    password.write_text(more.pop("password", PASSWORD) + "\n")
    password.chmod(0o600)
    values: dict[str, Any] = {
        "name": name,
        "protocol": protocol,
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "username": USER,
        "password_file": str(password),
        "to": "anna@example.org",
        "every": "0s",
        "idle": False,
    }
    values.update(more)
    lines = [f"{key} = {_printed(value)}" for key, value in values.items()]
    return "\n[[collect]]\n" + "\n".join(lines) + "\n"


def _printed(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else '"' + str(value).replace("\\", "\\\\") + '"'
