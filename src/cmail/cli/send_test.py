"""`cmail send-test ADDRESS`: makes a message, submits it over SMTP, follows it, says where it went."""

import os
import re
import time
from dataclasses import dataclass
from typing import Any, Final

import click

from cmail.admin.asking import Server
from cmail.admin.rows import Row
from cmail.admin.why import explain
from cmail.cli.address_list import qualify
from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit, Refusal
from cmail.cli.place import Place, find_place
from cmail.cli.smtp_dialogue import Said, submit
from cmail.mail.address import Address, AddressSyntaxError, parse_address
from cmail.mail.date import print_date
from cmail.net.control import ControlError
from cmail.settings import parse_endpoint
from cmail.storage.mailbox_names import mailbox_path

_QUEUED_AS: Final = re.compile(r"queued as ([0-9A-Za-z]{13})")
_LOOK_S: Final = 0.05
_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
_GRACE_S: Final = 0.5  # for a worker to record what it has said
Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Test:
    """The message that is followed."""

    place: Place
    recipient: Address
    message_id: str
    queue_id: str


@click.command(cls=Command)
@click.argument("address")
@click.option("--from", "from_", default="", help="The sender; else postmaster.")
@click.option("--wait", "wait_s", default=15.0, show_default=True, help="Seconds to follow it.")
def command(address: str, from_: str, wait_s: float) -> int:
    """Send a test message through the server and say where it went.

    Ends with 0 when it was delivered or relayed, 75 when it waits, 69 when it was refused."""
    place = find_place(config_option())
    recipient = _address(address, place)
    sender = _address(from_ or "postmaster", place)
    host, port = _listener(place)
    click.echo(f"To {host}:{port}: a test message from {sender} to {recipient}")
    message_id = f"<test.{time.time_ns():x}.{os.urandom(6).hex()}@{place.hostname}>"
    said = submit(host, port, str(sender), str(recipient), _message(sender, recipient, message_id))
    if not said.reply.is_success:
        return _refused(said)
    click.echo(f"Taken: {said.reply}")
    match = _QUEUED_AS.search(said.reply.text)
    if not match:
        return Exit.OK
    return _follow(Test(place, recipient, message_id, match[1].upper()), wait_s)


def _address(text: str, place: Place) -> Address:
    try:
        return qualify(text, place.bare_name_domain)
    except AddressSyntaxError as error:
        raise click.UsageError(str(error)) from None


def _listener(place: Place) -> tuple[str, int]:
    """Where our own server takes mail without a log-in: as it says, or as the file does."""
    try:
        listeners = Server(place.data_dir).ask("supervisor", "status")["listeners"]
    except ControlError:
        listeners = place.tables.get("listener", ())
    for listener in listeners:
        if listener.get("kind") == "smtp":
            endpoint = parse_endpoint(str(listener.get("address", "")))
            return _ANY.get(endpoint.host, endpoint.host), endpoint.port
    raise Refusal(f'{place.config} has no [[listener]] of kind = "smtp" to send it to', Exit.CONFIG)


def _message(sender: Address, recipient: Address, message_id: str) -> bytes:
    lines = (
        f"From: CMail test <{sender}>",
        f"To: <{recipient}>",
        "Subject: A test message from CMail",
        f"Date: {print_date(time.time_ns() // 1_000_000)}",
        f"Message-ID: {message_id}",
        "Auto-Submitted: auto-generated",  # RFC 3834: no vacation answers to it
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "",
        "This is a test message. If you can read it, mail gets here.",
        "",
    )
    return "\r\n".join(lines).encode()


def _refused(said: Said) -> int:
    click.echo(f"Refused: {said.command} was answered with: {said.reply}", err=True)
    return Exit.TEMPORARY if said.reply.is_temporary else Exit.UNAVAILABLE


def _follow(test: Test, wait_s: float) -> int:
    """Until it is delivered, relayed, failed or put off, or the time is over."""
    server = Server(test.place.data_dir)
    until = time.monotonic() + wait_s
    gone_at = 0.0
    while True:
        try:
            ended = _ended(server, test)
            waiting = list(server.rows({"ids": [test.queue_id]}, 10))
        except ControlError as error:
            click.echo(f"It is accepted; where it went cannot be seen from here: {error.words}", err=True)
            return Exit.OK
        if ended is not None and not waiting:
            return ended
        if waiting and (any(map(_is_put_off, waiting)) or time.monotonic() > until):
            return _waits(server, waiting[0])
        if not waiting:
            gone_at = gone_at or time.monotonic()
            if time.monotonic() - gone_at > _GRACE_S:
                click.echo("It has left the queue; the log says where to.")
                return Exit.OK
        time.sleep(_LOOK_S)


def _is_put_off(row: Row) -> bool:
    """Whether it will not go on at once: it was tried, or nobody knows when it is its turn (no link)."""
    return bool(row["reason"] or not row["next_ms"])


def _ended(server: Server, test: Test) -> int | None:
    """Say how it ended for each recipient that it came to; None while nothing is known."""
    attempts = [row for a in server.ask_workers("queue.recent", 10.0, id=test.queue_id) for row in a.rows]
    ends = [row for row in attempts if row["state"] in ("delivered", "relayed", "failed")]
    if not ends:
        return None
    for row in attempts:
        if row["state"] == "expanded":
            click.echo(f"{row['to']} is an alias for {', '.join(row['targets'])}")
    for row in ends:
        click.echo(_words(row, test))
    return Exit.UNAVAILABLE if any(row["state"] == "failed" for row in ends) else Exit.OK


def _words(row: Told, test: Test) -> str:
    if row["state"] == "delivered":
        where = _mailbox(test.place, row["to"])
        return f"Delivered into the mailbox of {row['to']} here: {where}"
    if row["state"] == "relayed":
        return f"Relayed: {row['relay']} has taken it for {row['to']} and said: {row['reply']}"
    return f"Failed for {row['to']}: {row['reply']} (its sender gets a report)"


def _mailbox(place: Place, text: str) -> str:
    """The folder; anna+lists is anna's, so the first that is there."""
    root, address = os.path.join(place.data_dir, "mail"), parse_address(text.encode())
    separator = place.tables.get("local", {}).get("separator", "+")
    local_parts = [address.local_part]
    if separator and separator in address.local_part:
        local_parts.append(address.local_part.partition(separator)[0])
    paths = [
        mailbox_path(root, Address(local_part, domain))
        for local_part in local_parts
        for domain in dict.fromkeys((address.domain, place.bare_name_domain))
    ]
    return next((path for path in paths if os.path.isdir(path)), root)


def _waits(server: Server, row: Row) -> int:
    """It is safe in the queue; why it does not go on."""
    figures = [answer.ok for answer in server.ask_workers("queue.figures", 10.0)]
    told = explain(
        row,
        time.time_ns() // 1_000_000,
        is_link_down=any(f.get("is_link_down") for f in figures),
        is_batch=any(f.get("is_batch") for f in figures),
    )
    click.echo(f"It waits in the queue as {row['id']}. {told.why}\n{told.advice}")
    return Exit.TEMPORARY
