"""`cmail token add|list|delete`: who may use the API."""

import json

import click

from cmail.admin.keys import SCOPES
from cmail.admin.rows import rfc3339
from cmail.cli.command import Group
from cmail.cli.exits import Exit
from cmail.cli.keys import with_keys


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """Tokens of the API: Authorization: Bearer TOKEN."""


@command.command("add")
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="read",
    show_default=True,
    help="read: look; send: inject mail; admin: everything.",
)
def add(name: str, scope: str) -> int:
    """A new token, printed alone: it is not shown again."""
    click.echo(with_keys(lambda keys, _: keys.add_token(name, scope)))
    return Exit.OK


@command.command("list")
@click.option("--json", "is_json", is_flag=True, help="One array, an object a token.")
def list_(is_json: bool) -> int:
    """Names and scopes."""
    tokens = with_keys(lambda keys, _: keys.tokens())
    shown = [{"name": t.name, "scope": t.scope, "made": rfc3339(t.made_wall_ms)} for t in tokens]
    if is_json:
        click.echo(json.dumps(shown))
        return Exit.OK
    for token in shown:
        click.echo(f"{token['name']:<24} {token['scope']:<6} {token['made']}")
    return Exit.OK


@command.command("delete")
@click.argument("name")
def delete(name: str) -> int:
    """It works no more."""
    with_keys(lambda keys, _: keys.delete_token(name))
    click.echo(f"{name} is deleted.")
    return Exit.OK
