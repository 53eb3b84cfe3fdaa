"""`cmail version`: which CMail this is, and with what it runs."""

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import click

from cmail import __version__
from cmail.cli.command import Command


@click.command(cls=Command)
def command() -> None:
    """Which CMail this is, and with what it runs."""
    click.echo(f"cmail {__version__}")
    click.echo(f"python {platform.python_version()} ({platform.system()} {platform.release()})")
    for name in ("uvloop", "apsw", "cryptography", "dnspython"):
        click.echo(f"{name} {_version(name)}")
    is_compiled = find_spec("cmail.protocol.smtp._scan") is not None
    click.echo("compiled helper: " + ("yes" if is_compiled else "no, its twin in Python serves"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
