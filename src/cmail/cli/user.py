"""`cmail user add|passwd|list|delete`: who has a mailbox here and may log in."""

import json
import sys
from typing import Final

import click

from cmail.admin.rows import rfc3339
from cmail.cli.accounts import change_book, read_book
from cmail.cli.command import Group
from cmail.cli.exits import Exit, Refusal

_PASSWORD_OCTETS_MAX: Final = 4096

_stdin_option = click.option(
    "--password-stdin", "is_stdin", is_flag=True, help="Read the password from standard input: one line."
)


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """Accounts. A bare name gets the first domain of the settings.

    Passwords never stand on the command line, where every user of the machine could read them."""


@command.command("add")
@click.argument("address")
@_stdin_option
def add(address: str, is_stdin: bool) -> int:
    """A new account; it can log in and has a mailbox when this returns."""
    password = _password(is_stdin)
    added = change_book(lambda book: book.add_user(address, password))
    click.echo(f"{added} is added.")
    return Exit.OK


@command.command("passwd")
@click.argument("address")
@_stdin_option
def passwd(address: str, is_stdin: bool) -> int:
    """Another password."""
    password = _password(is_stdin)
    changed = change_book(lambda book: book.set_password(address, password))
    click.echo(f"{changed} has a new password.")
    return Exit.OK


@command.command("list")
@click.option("--json", "is_json", is_flag=True, help="One array, an object a user.")
def list_(is_json: bool) -> int:
    """All accounts."""
    users = read_book(lambda book: book.users())
    if is_json:
        shown = [{"address": user.address, "created": rfc3339(user.created_ms)} for user in users]
        click.echo(json.dumps(shown))
        return Exit.OK
    for user in users:
        click.echo(user.address)
    if not users:
        click.echo("There are no users yet: cmail user add anna@example.org", err=True)
    return Exit.OK


@command.command("delete")
@click.argument("address")
def delete(address: str) -> int:
    """The account goes; mail that is stored for it stays on the disk."""
    deleted = change_book(lambda book: book.delete_user(address))
    click.echo(f"{deleted} is deleted; stored mail stays in the data folder, under mail/.")
    return Exit.OK


def _password(is_stdin: bool) -> str:
    if not is_stdin and sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    if not is_stdin:
        raise Refusal("no terminal to ask for the password; pass it with --password-stdin", Exit.USAGE)
    octets = sys.stdin.buffer.readline(_PASSWORD_OCTETS_MAX + 1).rstrip(b"\r\n")
    try:
        password = octets.decode()
    except UnicodeDecodeError:
        raise Refusal("the password is not UTF-8", Exit.DATA) from None
    if not password or len(octets) > _PASSWORD_OCTETS_MAX:
        raise Refusal("standard input has no password in its first line", Exit.DATA)
    return password
