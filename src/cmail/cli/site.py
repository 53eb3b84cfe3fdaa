"""`cmail site list`: the servers that come and go, what waits for them, and when they were here last."""

import json
from typing import Any

import click

from cmail.admin.asking import Server
from cmail.admin.rows import rfc3339
from cmail.admin.sites import add_up, as_json
from cmail.cli.command import Group, config_option
from cmail.cli.exits import Exit
from cmail.cli.listing import printable
from cmail.cli.nobodies import warnings_of
from cmail.cli.place import find_place
from cmail.queue.words import size_words


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """Sites: servers that come and go, for which mail is kept here ([[site]] in the settings)."""


@command.command("list")
@click.option("--json", "is_json", is_flag=True, help="An object a site and line.")
def list_(is_json: bool) -> int:
    """What waits for each, and when it was here last."""
    place = find_place(config_option())
    server = Server(place.data_dir)
    rows = add_up([row for answer in server.ask_workers("site.list", 10.0) for row in answer.rows])
    warnings = warnings_of(place, "site")
    for row in rows:
        warning = warnings.get(row["name"], "")
        click.echo(json.dumps(as_json(row, warning)) if is_json else describe(row))
        if warning and not is_json:
            click.echo(printable(f"  warning: {warning}"))
    if not rows and not is_json:
        click.echo("There is no [[site]] in the settings.")
    for name in server.silent:
        click.echo(f"{name} does not answer: what it has is not counted", err=True)
    return Exit.OK


def describe(row: dict[str, Any]) -> str:
    """One line: ship (ship.example): 3 messages wait, 12 KiB; last seen ... (ATRN)."""
    count = row["messages"]
    waits = f"{count} message{'s' * (count != 1)} wait{'s' * (count == 1)}, {size_words(row['octets'])}"
    held = f", {row['held']} on hold" if row["held"] else ""
    seen = (
        f"last seen {rfc3339(row['seen_ms'])} ({printable(row['how'])})" if row["seen_ms"] else "never seen"
    )
    there = "it is there now; " if row["is_there"] else ""
    return f"{row['name']} ({', '.join(row['domains'])}): {waits}{held}; {there}{seen}"
