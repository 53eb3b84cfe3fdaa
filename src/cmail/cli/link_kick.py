"""`cmail link kick`: ask the servers of the plan to send what they keep for us; a line for each step."""

import json
from typing import Any, Final

import click

from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit, Refusal
from cmail.cli.listing import printable
from cmail.cli.place import find_place
from cmail.net.control_client import BlockingControlClient

WAIT_S: Final = 4000.0  # for one line: a step may wait an hour for mail
_GOOD: Final = ("answered", "nothing waits")


@click.command("kick", cls=Command)
@click.option("--json", "is_json", is_flag=True, help="An object a line.")
def kick(is_json: bool) -> int:
    """Ask the servers that keep mail for us to send it: smtp.kick and [[link.kick]], step by step.

    It goes on when this command is ended. The exit code is 0 when mail came or none waits there, else 75."""
    endings: list[dict[str, Any]] = []

    def on_row(row: dict[str, Any]) -> None:
        if "ending" in row:
            endings.append(row)
        if is_json:
            click.echo(json.dumps(row))
        elif words := describe(row):
            click.echo(printable(words))

    place = find_place(config_option())
    BlockingControlClient(f"{place.data_dir}/run", "link", WAIT_S).ask("link.kick", on_row=on_row)
    ending = endings[-1]["ending"] if endings else "stopped"
    if ending == "stopped":
        raise Refusal("the kick was stopped: the link went down, or it was begun again", Exit.TEMPORARY)
    return Exit.OK if ending in _GOOD else Exit.TEMPORARY


def describe(row: dict[str, Any]) -> str:
    """One line of it."""
    words = str(row.get("words", "")).removeprefix("kick: ")
    if "ending" in row:
        return words[:1].upper() + words[1:] + "." if words else ""
    step = f"{row['step']}/{row['steps']} {row['method']}"
    again = f", try {row['attempt']}" if row["attempt"] > 1 else ""
    return f"{step}{again}: {words}"
