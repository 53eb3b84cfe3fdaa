"""`cmail link up|down|status|kick|collect`: what hooks of ppp, NetworkManager and if-up call, and people."""

import json
from typing import Any

import click

from cmail.admin.asking import Server
from cmail.admin.rows import duration, rfc3339
from cmail.cli.command import Group, config_option
from cmail.cli.exits import Exit
from cmail.cli.link_collect import collect
from cmail.cli.link_kick import kick
from cmail.cli.place import find_place


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """The line to the Internet. While it is down nothing is tried and no message gets older.

    NAME is a link of the settings or a network device; without it all but loopback is meant."""


@command.command("up")
@click.argument("name", required=False, default="")
def up(name: str) -> int:
    """It is there: everything that waits for it starts now."""
    _ask("link.up", name)
    click.echo(f"The link{_named(name)} is up.")
    return Exit.OK


@command.command("down")
@click.argument("name", required=False, default="")
def down(name: str) -> int:
    """It is gone: stop sending over it, until `cmail link up`."""
    _ask("link.down", name)
    click.echo(f"The link{_named(name)} is down: mail for the Internet waits and does not get older.")
    return Exit.OK


@command.command("status")
@click.argument("name", required=False, default="")
@click.option("--json", "is_json", is_flag=True, help="As one object.")
def status(name: str, is_json: bool) -> int:
    """Whether it is there, and how that is known."""
    told = _ask("link.status", name)
    if is_json:
        click.echo(json.dumps(told))
        return Exit.OK
    for line in describe(told):
        click.echo(line)
    return Exit.OK


command.add_command(kick)
command.add_command(collect)


def describe(told: dict[str, Any]) -> list[str]:
    """The link's answer as lines: its state first, then what is known of it."""
    lines = [f"link: {'down' if told.get('is_down') else 'up'}"]
    if told.get("changed_wall_ms"):
        lines.append(f"  since: {rfc3339(told['changed_wall_ms'])}")
    if told.get("periods"):
        lines.append(f"  link-up periods so far: {told['periods']}")
    if told.get("down_ms"):
        lines.append(f"  down altogether: {duration(told['down_ms'])}")
    if told.get("last_kick"):
        lines.append(f"  last kick: {told['last_kick']}")
    return lines


def _named(name: str) -> str:
    return f" {name}" if name else ""


def _ask(question: str, name: str) -> dict[str, Any]:
    place = find_place(config_option())
    return Server(place.data_dir).ask("link", question, name=name)
