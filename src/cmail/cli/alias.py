"""`cmail alias add|list|delete`: addresses that stand for others."""

import json

import click

from cmail.cli.accounts import change_book, read_book
from cmail.cli.command import Group
from cmail.cli.exits import Exit


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """Aliases. They take effect at once.

    cmail alias add sales@example.org anna@example.org bob@example.net

    @example.org is the catch-all: whatever nobody else in that domain gets."""


@command.command("add")
@click.argument("address")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--replace", "is_replaced", is_flag=True, help="Instead of the one that is there.")
def add(address: str, targets: tuple[str, ...], is_replaced: bool) -> int:
    """An address that leads to one or more others, here or elsewhere."""
    alias = change_book(lambda book: book.add_alias(address, targets, is_replaced=is_replaced))
    click.echo(f"{alias.address} leads to {', '.join(alias.targets)}.")
    for nobody in read_book(lambda book: book.nobodies(alias.targets)):
        click.echo(f"note: nobody here has {nobody} (yet)", err=True)
    return Exit.OK


@command.command("list")
@click.option("--json", "is_json", is_flag=True, help="One array, an object an alias.")
def list_(is_json: bool) -> int:
    """All aliases."""
    aliases = read_book(lambda book: book.aliases())
    if is_json:
        shown = [{"address": alias.address, "targets": list(alias.targets)} for alias in aliases]
        click.echo(json.dumps(shown))
        return Exit.OK
    for alias in aliases:
        click.echo(f"{alias.address} -> {', '.join(alias.targets)}")
    return Exit.OK


@command.command("delete")
@click.argument("address")
def delete(address: str) -> int:
    """The alias goes."""
    deleted = change_book(lambda book: book.delete_alias(address))
    click.echo(f"{deleted} is deleted.")
    return Exit.OK
