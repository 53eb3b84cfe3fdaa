"""`cmail config check|show|init|versions|return|reload`: the settings file."""

import json
import os
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Any, Final

import click

from cmail.cli.command import Group, config_option
from cmail.cli.exits import Exit, Refusal
from cmail.cli.place import find_config
from cmail.settings import SettingError

_SECRET_NAMES: Final = ("password", "secret", "token", "key")  # of keys whose value is never shown
_START: Final = os.path.join("var", "cmail.toml")


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """The settings file."""


@command.command("check")
def check() -> int:
    """Say everything that is wrong with it, with its line; nothing is changed."""
    from cmail.app.config import load, notes
    from cmail.app.config_accounts import account_notes

    path = find_config(config_option())
    try:
        settings = load(path)
    except SettingError as error:
        for line in error.lines():
            click.echo(line, err=True)
        return Exit.CONFIG
    for note in [*notes(settings), *account_notes(settings)]:
        click.echo(f"note: {note}")
    click.echo(f"{path}: ok")
    return Exit.OK


@command.command("show")
@click.option("--json", "is_json", is_flag=True, help="As one object.")
def show(is_json: bool) -> int:
    """The settings in force, defaults included; secrets are not shown."""
    from cmail.app.catalog import print_setting_value, read_catalog
    from cmail.app.config import load
    from cmail.app.settings import Settings

    settings = load(find_config(config_option()))
    if is_json:
        click.echo(json.dumps(_plain(settings), indent=2))
        return Exit.OK
    for table in read_catalog(Settings).walk():
        values = _at(settings, table.key)
        for one in values if table.is_array else (values,):
            if not table.settings:
                continue
            click.echo(f"[[{table.key}]]" if table.is_array else f"[{table.key}]")
            for name, setting in table.settings.items():
                value = getattr(one, name)
                shown = '"(not shown)"' if _is_secret(name, value) else print_setting_value(setting, value)
                click.echo(f"{name} = {shown}")
            click.echo()
    return Exit.OK


def _at(settings: Any, key: str) -> Any:
    for name in key.split(".") if key else ():
        settings = getattr(settings, name)
    return settings


def _is_secret(name: str, value: object) -> bool:
    """A file that holds a secret may be named; the secret itself may not stand anywhere."""
    last = name.rpartition("_")[2]
    return bool(value) and isinstance(value, str) and last in _SECRET_NAMES


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {
            field.name: "(not shown)" if _is_secret(field.name, found) else _plain(found)
            for field in fields(value)
            for found in (getattr(value, field.name),)
        }
    if isinstance(value, tuple):
        return [_plain(element) for element in value]
    return value.total_seconds() if isinstance(value, timedelta) else value


@command.command("init")
@click.option("--if-missing", is_flag=True, help="Leave an existing file as it is, and be content.")
def init(if_missing: bool) -> int:
    """Write a starter file that works as it stands, on this machine alone."""
    from cmail.app.starter import hand_over, starter_data_dir, starter_text

    path = config_option() or os.environ.get("CMAIL_CONFIG", "") or _START
    if os.path.exists(path):
        if if_missing:
            return Exit.OK
        raise Refusal(f"{path} is there already and stays as it is", Exit.CANNOT_CREATE)
    folder = os.path.dirname(os.path.abspath(path))
    is_new = not os.path.exists(folder)
    try:
        os.makedirs(folder, exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)  # no secrets in it, and sendmail of everybody reads it
            file.write(starter_text(starter_data_dir(path)))
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            hand_over(folder, path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Refusal(f"{path} cannot be written: {reason}", Exit.CANNOT_CREATE) from error
    click.echo(f"{path} is written. Look through it, then: cmail serve --config {path}")
    return Exit.OK


@command.command("versions")
@click.option("--json", "is_json", is_flag=True, help="One array, an object a version.")
def versions(is_json: bool) -> int:
    """The last files that were saved by the page or the API, the newest first."""
    from cmail.cli.versions import all_versions, describe

    found = all_versions(config_option())
    if is_json:
        click.echo(json.dumps([describe(each) for each in found]))
        return Exit.OK
    for each in found:
        told = describe(each)
        click.echo(f"{each.number:>6}  {told['saved']}  {told['by'] or 'as it was found'}")
        for change in each.changes:
            click.echo(f"        {change.key}: {change.old or '(default)'} -> {change.new or '(default)'}")
    if not found:
        click.echo("None yet: they are kept when page or API save the settings.")
    return Exit.OK


@command.command("return")
@click.argument("number", type=int)
def return_(number: int) -> int:
    """Back to the file of this number (cmail config versions); a running server takes it over."""
    from cmail.cli.versions import bring_back

    for words in bring_back(config_option(), number):
        click.echo(words)
    return Exit.OK


@command.command("reload")
def reload() -> int:
    """The running server reads the file anew; no session ends, and a file with a mistake changes nothing."""
    from cmail.admin.asking import Server
    from cmail.cli.place import find_place

    number = Server(find_place(config_option()).data_dir).ask("supervisor", "reload").get("number", "")
    click.echo(f"The server goes by the file (settings number {number}).")
    return Exit.OK
