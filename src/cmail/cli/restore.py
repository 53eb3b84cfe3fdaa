"""`cmail restore DIR`: what `cmail backup` has copied, back into a data folder, here or elsewhere."""

import os
import time
import tomllib
from typing import Any

import click

from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit, Refusal, words_of
from cmail.cli.owner import OwnerRights
from cmail.cli.place import Place, find_config, find_place
from cmail.storage.backup_list import SETTINGS, BackupError
from cmail.storage.backup_restore import Restored, has_data, restore


@click.command(cls=Command)
@click.argument("folder", metavar="DIR")
@click.option(
    "--replace", "is_replaced", is_flag=True, help="Put what is there aside, in DATA/replaced-TIME."
)
def command(folder: str, is_replaced: bool) -> int:
    """Bring back what `cmail backup` has copied to DIR. The settings file of this machine says where to
    and for which user; where there is none, it is made from the backup, under the name that --config gives.

    The server must not run. Nothing is overwritten, and a backup that is damaged changes nothing."""
    folder = os.path.abspath(folder)
    try:
        place, settings = _place(folder)
        restored = _restore(folder, place, is_replaced)
        if settings:
            _write_settings(place.config, settings)
    except BackupError as error:
        raise Refusal(str(error), error.code) from error
    _say(place, restored, is_written=bool(settings))
    return Exit.OK


def _place(folder: str) -> tuple[Place, bytes]:
    """Where to; and the settings of the backup when there are none here yet."""
    named = config_option() or os.environ.get("CMAIL_CONFIG", "")
    if not named:
        try:
            named = find_config()
        except Refusal:
            raise Refusal(
                "no settings file here yet: say with --config where it is to be, such as"
                " --config /etc/cmail/cmail.toml; it is made from the backup",
                Exit.CONFIG,
            ) from None
    if os.path.exists(named):
        return find_place(named), b""
    try:
        with open(os.path.join(folder, SETTINGS), "rb") as file:
            settings = file.read()
        host: Any = tomllib.loads(settings.decode()).get("host", {})
    except FileNotFoundError:
        raise Refusal(f"{folder} is not a backup: {SETTINGS} is not in it", Exit.NO_INPUT) from None
    except ValueError as error:
        raise Refusal(f"{folder}/{SETTINGS} is damaged: {error}", Exit.DATA) from None
    data_dir = str(host.get("data_dir", "/var/lib/cmail"))
    path = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(named)), data_dir))
    return Place(named, path, tables={"host": host}), settings


def _restore(folder: str, place: Place, is_replaced: bool) -> Restored:
    from cmail.app import ground
    from cmail.app.rights import owner_of

    try:
        owner = owner_of(str(place.tables.get("host", {}).get("user", "cmail")))
    except KeyError as error:
        raise Refusal(f"{error.args[0]}: make that user, or name another in host.user", Exit.CONFIG) from None
    rights = OwnerRights(owner.uid, owner.gid)
    _check_rights(place)
    try:
        os.umask(0o022)  # what leads to the data folder is for everybody
        ground.lay(place.data_dir, owner)
        os.umask(0o077)
        ground.lock(place.data_dir, owner)  # until this command ends
    except ground.GroundError as error:
        raise Refusal(str(error), error.code) from error
    with rights.owner():
        if has_data(place.data_dir) and not is_replaced:
            raise Refusal(
                f"there is data in {place.data_dir}, and it stays as it is; with --replace it is moved aside"
                f" to {place.data_dir}/replaced-TIME, and the backup takes its place",
                Exit.CANNOT_CREATE,
            )
        try:
            return restore(folder, place.data_dir, rights.opened, rights.root)
        except OSError as error:
            code = Exit.NO_PERMISSION if isinstance(error, PermissionError) else Exit.IO
            raise Refusal(f"nothing was restored: {words_of(error)}", code) from error


def _check_rights(place: Place) -> None:
    if os.geteuid() != 0 and os.path.isdir(place.data_dir) and os.stat(place.data_dir).st_uid != os.geteuid():
        raise Refusal(f"{place.data_dir} belongs to somebody else: use sudo", Exit.NO_PERMISSION)


def _write_settings(path: str, settings: bytes) -> None:
    """As `cmail config init` does: no secrets in it, and everybody's sendmail reads it."""
    from cmail.storage.durable import make_folder, sync_folder, write_new

    folder = os.path.dirname(os.path.abspath(path))
    os.umask(0o022)
    make_folder(folder, 0o755)
    write_new(path, settings, 0o644)
    sync_folder(folder)


def _say(place: Place, restored: Restored, is_written: bool) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(restored.facts.ended_ms / 1000))
    click.echo(
        f"{place.data_dir} is as it was at {when}: {restored.queued} messages in the queue,"
        f" {restored.mail} in mailboxes"
    )
    for note in restored.facts.notes:
        click.echo(f"note: {note}", err=True)
    if restored.replaced:
        click.echo(f"what was there is in {restored.replaced}")
    if is_written:
        click.echo(f"{place.config} is made from the backup: look through it before you start the server")
    else:
        click.echo(f"{place.config} holds as it was; the settings of the backup are in it as {SETTINGS}")
