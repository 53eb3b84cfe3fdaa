"""`cmail page link|password`: how to get into the web page."""

import sys

import click

from cmail.admin.keys import Keys
from cmail.cli.command import Group
from cmail.cli.exits import Exit, Refusal
from cmail.cli.keys import with_keys
from cmail.cli.place import Place
from cmail.net.control_client import ControlError

_DEFAULT = "127.0.0.1:8025"


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """The web page: where it is, and how to get in."""


@command.command("link")
def link() -> int:
    """A link with which a (new) password can be chosen, once. Links of before are void."""
    click.echo(with_keys(lambda keys, place: f"{_url(place)}/first?key={keys.new_link()}"))
    return Exit.OK


@command.command("password")
@click.option("--stdin", "is_stdin", is_flag=True, help="Read it from standard input, its first line.")
def password(is_stdin: bool) -> int:
    """Set the password of the page."""
    if is_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    else:
        text = click.prompt("New password", hide_input=True, confirmation_prompt=True)

    def set_it(keys: Keys, _: Place) -> None:
        keys.set_password(text)

    with_keys(set_it)
    click.echo("The password is set.")
    return Exit.OK


def _url(place: Place) -> str:
    """Where the page is: the running server knows its port, else the file says it."""
    from cmail.admin.asking import Server

    address = str(place.tables.get("admin", {}).get("address", _DEFAULT))
    if not address:
        raise Refusal("the page is switched off: admin.address is empty", Exit.CONFIG)
    try:
        for port in Server(place.data_dir).ask("supervisor", "status")["listeners"]:
            if port["kind"] == "admin":
                address = port["address"]
    except ControlError:
        pass  # it is not running: the file is all we know
    host = address.rpartition(":")[0]
    is_here = host.startswith("127.") or host in ("localhost", "[::1]")
    return f"{'http' if is_here else 'https'}://{address}"
