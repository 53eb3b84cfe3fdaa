"""`cmail collect now|status|list|fetch`: mail that waits in mailboxes elsewhere."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import click

from cmail.admin.mailboxes_elsewhere import as_json, left_words, state_words, there_words, where_words
from cmail.admin.rows import duration, rfc3339
from cmail.cli.command import Group, config_option
from cmail.cli.exits import Exit
from cmail.cli.listing import printable
from cmail.cli.nobodies import warnings_of
from cmail.cli.place import find_place
from cmail.net.control_client import BlockingControlClient

WAIT_S: Final = (
    6 * 3600.0
)  # a large mailbox over a thin line; who is tired of it presses Ctrl-C, and it goes on
ASK_S: Final = 15.0


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """Mail that waits for us in mailboxes elsewhere ([[collect]] in the settings)."""


@command.command("now")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "is_json", is_flag=True, help="One array, an object a mailbox.")
def now(names: tuple[str, ...], is_json: bool) -> int:
    """Collect from all, or from those named, and say how it went; 75 when one of them failed."""
    results = ask("collect.now", WAIT_S, names=list(names))["results"]
    if is_json:
        click.echo(json.dumps(results))
    for result in [] if is_json else results:
        click.echo(printable(f"{result['name']}: {result['told']}"))
    return Exit.OK if all(result["is_ok"] for result in results) else Exit.TEMPORARY


@command.command("status")
@click.option("--json", "is_json", is_flag=True, help="As one object.")
def status(is_json: bool) -> int:
    """Each mailbox: what it does now, how the last collection ended, when the next is."""
    told = ask("collect.status", ASK_S)
    warnings = warnings_of(find_place(config_option()), "collect")
    if is_json:
        rows = [as_json(each, warnings.get(each["name"], "")) for each in told["accounts"]]
        click.echo(json.dumps({**told, "accounts": rows}))
        return Exit.OK
    for account in told["accounts"]:
        for line in describe(account, warnings.get(account["name"], "")):
            click.echo(printable(line))
    if told.get("trouble"):
        click.echo(printable(told["trouble"]))
    if not told["accounts"]:
        click.echo("No mailbox is set up to collect from: see [[collect]] in the settings.")
    return Exit.OK


def describe(account: Mapping[str, Any], warning: str = "") -> list[str]:
    """An account's answer as lines."""
    lines = [f"{account['name']}: {where_words(account)}", f"  now: {state_words(account)}"]
    if account["last_ms"]:
        ago = duration(time.time_ns() // 1_000_000 - account["last_ms"])
        lines.append(f"  {ago} ago: {account['words']}")
    if there := there_words(account):
        lines.append(f"  there: {there} (cmail collect list)")
    if warning:
        lines.append(f"  warning: {warning}")
    return lines


@command.command("list")
@click.argument("name", required=False, default="")
@click.option("--json", "is_json", is_flag=True, help="One array, an object a message.")
def list_(name: str, is_json: bool) -> int:
    """What is known there and was not fetched whole: too large, or it cannot be taken."""
    messages = ask("collect.list", ASK_S, name=name)["messages"]
    if is_json:
        click.echo(json.dumps([{**each, "at": rfc3339(each["at_ms"])} for each in messages]))
        return Exit.OK
    for each in messages:
        wanted = ", to be fetched next" if each["is_wanted"] else ""
        size = f"{each['size']} octets" if each["size"] >= 0 else "size unknown"
        click.echo(printable(f"{each['name']} {each['id']}  {size}  {left_words(each)}{wanted}"))
    if not messages:
        click.echo("Nothing was left there.")
    return Exit.OK


@command.command("fetch")
@click.argument("name")
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@click.option("--json", "is_json", is_flag=True, help="As one object.")
def fetch(name: str, number: int, is_json: bool) -> int:
    """Fetch all of a message that was too large; off line it is noted, and fetched at the next link-up."""
    told = ask("collect.fetch", WAIT_S, name=name, id=number)
    if is_json:
        click.echo(json.dumps(told))
    else:
        click.echo(printable(told["told"][:1].upper() + told["told"][1:] + "."))
    result = told["result"]
    return Exit.OK if result is None or result["is_here"] else Exit.TEMPORARY


def ask(question: str, wait_s: float, **arguments: object) -> dict[str, Any]:
    """The link process."""
    place = find_place(config_option())
    return BlockingControlClient(f"{place.data_dir}/run", "link", wait_s).ask(question, arguments).ok
