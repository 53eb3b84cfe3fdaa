"""`cmail queue list|show|why|flush|hold|release|delete|bounce`: prints what admin.queue answers."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import click

from cmail.admin.going import going_words
from cmail.admin.queue_access import Queue, open_queue
from cmail.admin.rows import json_row
from cmail.cli.command import Group, config_option
from cmail.cli.exits import Exit, Refusal
from cmail.cli.listing import print_rows, print_shown
from cmail.cli.place import become_owner, find_place
from cmail.mail.queue_id import parse_queue_id

_UNITS_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DIGITS_MAX: Final = 9  # of a time; longer is a slip of the hand
Command = Callable[..., Any]


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """See and change what waits in the queue.

    Filters can be mixed, and all must hold. They act on everything that they fit, in every part of the
    queue; IDs stand for whole messages."""


def _filters(function: Command) -> Command:
    """The filters that every command on many messages takes."""
    for option in (
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        click.option("--reason", default="", help="Why it waits: a part of it."),
        click.option("--older-than", default="", metavar="TIME", help="Arrived so long ago: 30m, 4h, 2d."),
        click.option("--domain", default="", help="The recipient's domain, whole."),
        click.option("--from", "from_", default="", help="A part of the sender; <> for reports."),
        click.option("--to", default="", help="A part of the recipient."),
    ):
        function = option(function)
    return function


def _changes(function: Command) -> Command:
    """What every command takes that changes what waits: the filters, --all and --json."""
    function = click.option("--json", "is_json", is_flag=True, help="How many, as one object.")(function)
    function = click.option("--all", "is_all", is_flag=True, help="Everything that waits.")(function)
    return _filters(function)


def _filter(ids: tuple[str, ...], *, older_than: str, from_: str, **others: str) -> dict[str, Any]:
    """The filter as it goes to the workers; empty ones are left out."""
    what: dict[str, Any] = {name: value for name, value in others.items() if value}
    if from_:
        what["from"] = from_
    if older_than:
        what["older_than_ms"] = _duration_ms(older_than)
    if ids:
        what["ids"] = [_queue_id(text) for text in ids]
    return what


def _queue_id(text: str) -> str:
    try:
        parse_queue_id(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return text.upper()


def _duration_ms(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    is_number = number.isascii() and number.replace(".", "", 1).isdigit() and len(number) <= _DIGITS_MAX
    if unit not in _UNITS_MS or not is_number:
        raise click.UsageError(f"--older-than {text}: a time looks like 30m, 4h or 2d")
    return int(float(number) * _UNITS_MS[unit])


def _open() -> Queue:
    place = find_place(config_option())
    return open_queue(place.data_dir, lambda: become_owner(place))


@command.command("list")
@_filters
@click.option("--limit", type=click.IntRange(min=1), help="At most so many recipients.")
@click.option("--json", "is_json", is_flag=True, help="One array, an object a recipient.")
def list_(limit: int | None, is_json: bool, **filters: Any) -> int:
    """What waits, oldest first."""
    queue = _open()
    rows = queue.rows(_filter(**filters), limit or 0)
    if is_json:
        _print_json(rows)
    elif not print_rows(rows, sys.stdout):
        click.echo("The queue is empty." if not any(filters.values()) else "Nothing in the queue fits.")
    return _say_silent(queue)


def _print_json(rows: Any) -> None:
    """An array that is written while it is read."""
    put, mark = sys.stdout.write, "[\n"
    for row in rows:
        put(mark + json.dumps(json_row(row), ensure_ascii=True))
        mark = ",\n"
    put("[]\n" if mark == "[\n" else "\n]\n")


def _say_silent(queue: Queue) -> int:
    """A listing without a part of the queue must not look whole."""
    if not queue.silent:
        return Exit.OK
    names = ", ".join(queue.silent)
    print(f"cmail: {names} did not answer: what it keeps is missing here", file=sys.stderr)
    return Exit.TEMPORARY


@command.command("show")
@click.argument("queue_id", metavar="ID")
@click.option("--content", is_flag=True, help="The whole message, not only its header.")
@click.option("--json", "is_json", is_flag=True, help="Envelope and recipients as one object.")
def show(queue_id: str, content: bool, is_json: bool) -> int:
    """One message: envelope, recipients, header."""
    queue = _open()
    shown = queue.show(_queue_id(queue_id), has_content=content)
    if not is_json:
        print_shown(shown)
        return Exit.OK
    envelope: dict[str, Any] = {}
    recipients = []
    for part in shown:
        envelope.update(part.get("envelope", {}))
        if "recipient" in part:
            recipients.append(json_row(part["recipient"]))
    click.echo(json.dumps({**envelope, "recipients": recipients}))
    return Exit.OK


@command.command("why")
@_filters
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many recipients."
)
@click.option("--json", "is_json", is_flag=True, help="One array, an object a recipient.")
def why(limit: int, is_json: bool, **filters: Any) -> int:
    """Why it waits, in plain words, and what to do about it."""
    from cmail.admin.why import explain  # before the queue is opened: see open_queue

    queue = _open()
    what, found = _filter(**filters), []
    figures = queue.figures()
    for row in queue.rows(what, limit):
        told = explain(
            row,
            time.time_ns() // 1_000_000,
            is_link_down=bool(figures.get("is_link_down")),
            is_batch=bool(figures.get("is_batch")),
            is_server_down=not queue.is_running,
        )
        found.append({"id": row["id"], "to": row["to"], "why": told.why, "advice": told.advice})
        if not is_json:
            click.echo(f"{row['id']} to {row['to']}\n  {told.why}\n  {told.advice}")
    if is_json:
        click.echo(json.dumps(found))
    elif not found and what:
        click.echo("Nothing in the queue fits: it was delivered, returned or deleted; the log says which.")
    elif not found:
        click.echo("The queue is empty.")
    return _say_silent(queue) or (Exit.OK if found or not what else Exit.NO_USER)


@command.command("flush")
@_changes
def flush(is_all: bool, is_json: bool, **filters: Any) -> int:
    """Try now, whatever the time of the next attempt. Without a filter everything: where exchanges are
    planned one begins. What is named, or meant by a filter, goes by itself."""
    return _change("flush", _filter(**filters), "now due", is_json=is_json)


@command.command("hold")
@_changes
def hold(is_all: bool, is_json: bool, **filters: Any) -> int:
    """Stop it until it is released."""
    return _change("hold", _needs_filter(_filter(**filters), is_all), "on hold", is_json=is_json)


@command.command("release")
@_changes
def release(is_all: bool, is_json: bool, **filters: Any) -> int:
    """Let go what is on hold; without a filter everything. What its sender wants sent later goes now, when
    its ID is given."""
    return _change("release", _filter(**filters), "released", is_json=is_json)


@command.command("delete")
@_changes
def delete(is_all: bool, is_json: bool, **filters: Any) -> int:
    """Throw it away; nobody is told."""
    return _change("delete", _needs_filter(_filter(**filters), is_all), "deleted", is_json=is_json)


@command.command("bounce")
@_changes
@click.option("--because", default="", metavar="TEXT", help="What the sender is told.")
def bounce(is_all: bool, is_json: bool, because: str, **filters: Any) -> int:
    """Give up on it and tell its sender."""
    what = _needs_filter(_filter(**filters), is_all)
    return _change("bounce", what, "returned to the sender", is_json=is_json, reason_given=because)


def _needs_filter(what: dict[str, Any], is_all: bool) -> dict[str, Any]:
    if not what and not is_all:
        raise click.UsageError("name IDs or a filter; for everything that waits say --all")
    return what


def _change(change: str, what: dict[str, Any], done: str, *, is_json: bool, **more: str) -> int:
    queue = _open()
    changed = queue.change(change, what, **more)
    recipients = changed["recipients"]
    words = going_words(changed)
    if is_json:
        click.echo(json.dumps({"recipients": recipients, **({"words": words} if words else {})}))
    else:
        click.echo("\n".join([f"{recipients} recipient{'' if recipients == 1 else 's'} {done}", *words]))
    code = _say_silent(queue)
    if not recipients and what.get("ids"):
        raise Refusal("none of these is in the queue in that state", Exit.NO_USER)
    return code
