"""`cmail link up|down|status|exchange|plan|history|...`: what hooks of ppp and the like call, and people."""

import json
from collections.abc import Callable
from typing import Any, Final

import click

from cmail.admin.asking import Server
from cmail.admin.link_words import describe, describe_history, describe_plan
from cmail.cli.command import Group, config_option
from cmail.cli.exits import Exit
from cmail.cli.link_collect import collect
from cmail.cli.link_kick import kick
from cmail.cli.link_quick import Quick
from cmail.cli.place import find_place
from cmail.net.control_client import BlockingControlClient

ASK_S: Final = 30.0  # workers count what waits
HOOK: Final = "Said by a program, of a network device: what people and the kernel say is stronger."


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """The line to the Internet. While it is down nothing is tried and no message gets older.

    NAME is a link of the settings or a network device; without it all but loopback is meant."""


@command.command("up")
@click.argument("name", required=False, default="")
@click.option("--hook", "is_by_hook", is_flag=True, help=HOOK)
def up(name: str, is_by_hook: bool) -> int:
    """It is there: everything that waits for it starts now."""
    return Quick("up", name, config_option(), is_by_hook).say()


@command.command("down")
@click.argument("name", required=False, default="")
@click.option("--hook", "is_by_hook", is_flag=True, help=HOOK)
def down(name: str, is_by_hook: bool) -> int:
    """It is gone: stop sending over it, until `cmail link up`."""
    return Quick("down", name, config_option(), is_by_hook).say()


@command.command("probe")
@click.argument("name", required=False, default="")
def probe(name: str) -> int:
    """Look now whether something answers over it, and do not wait for what comes of it."""
    return Quick("probe", name, config_option()).say()


@command.command("status")
@click.argument("name", required=False, default="")
@click.option("--json", "is_json", is_flag=True, help="As one object.")
def status(name: str, is_json: bool) -> int:
    """Whether it is there, and how that is known."""
    return _show(_ask("link.status", name), is_json, describe)


@command.command("exchange")
@click.option("--json", "is_json", is_flag=True, help="As one object.")
def exchange(is_json: bool) -> int:
    """One now: what waits for the Internet goes, what waits elsewhere for us is kicked and collected.

    It goes by the link that the machine's routes lead by."""
    told = _ask("link.exchange", "", ASK_S)
    if is_json:
        click.echo(json.dumps(told))
    elif told.get("is_new"):
        click.echo("An exchange begins; `cmail link plan` says what goes, `cmail link history` how it ended.")
    else:
        click.echo("An exchange goes on already: what waits is tried, kicked and collected once more.")
    return Exit.OK


@command.command("plan")
@click.option("--json", "is_json", is_flag=True, help="As one object.")
def plan(is_json: bool) -> int:
    """When the next exchange is, what will go, in which order, and how long it takes."""
    return _show(_ask("link.plan", "", ASK_S), is_json, describe_plan)


@command.command("history")
@click.argument("name", required=False, default="")
@click.option("--json", "is_json", is_flag=True, help="As one array.")
def history(name: str, is_json: bool) -> int:
    """The last 50 exchanges: when, why, how much went and came, what it cost."""
    return _show(_ask("link.history", name, ASK_S)["exchanges"], is_json, describe_history)


command.add_command(kick)
command.add_command(collect)


def _show(told: Any, is_json: bool, words: Callable[[Any], list[str]]) -> int:
    for line in [json.dumps(told)] if is_json else words(told):
        click.echo(line)
    return Exit.OK


def _ask(question: str, name: str, timeout_s: float = 10.0) -> dict[str, Any]:
    place = find_place(config_option())
    client = BlockingControlClient(Server(place.data_dir).folder, "link", timeout_s)
    return client.ask(question, {"name": name}).ok
