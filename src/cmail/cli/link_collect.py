"""`cmail link collect`: everything that waits for us elsewhere: kick and collection, begun together."""

import threading
from typing import Any, Final

import click

from cmail.cli.collect import WAIT_S, ask
from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit
from cmail.cli.link_kick import WAIT_S as KICK_S
from cmail.cli.link_kick import describe
from cmail.cli.listing import printable
from cmail.cli.place import find_place
from cmail.net.control_client import BlockingControlClient, ControlError

_NOTHING_SET: Final = (64, 78)  # no [[collect]], no kick: fine as long as one of the two is there


@click.command("collect", cls=Command)
def collect() -> int:
    """Bring here what waits elsewhere: kick the servers of the plan and collect from all mailboxes, at once.

    A line for each step. 75 when something failed; it goes on when this command is ended."""
    folder = f"{find_place(config_option()).data_dir}/run"
    kicked: list[ControlError] = []
    kicking = threading.Thread(target=_kick, args=(folder, kicked), daemon=True)
    kicking.start()
    trouble: ControlError | None = None
    has_failed = False
    try:
        for result in ask("collect.now", WAIT_S, names=[])["results"]:
            click.echo(printable(f"{result['name']}: {result['told']}"))
            has_failed = has_failed or not result["is_ok"]
    except ControlError as error:
        trouble = error
    kicking.join()
    if trouble is not None and (trouble.code not in _NOTHING_SET or kicked):
        raise trouble
    if kicked and kicked[0].code not in _NOTHING_SET:
        raise kicked[0]
    return Exit.TEMPORARY if has_failed else Exit.OK


def _kick(folder: str, trouble: list[ControlError]) -> None:
    def on_row(row: dict[str, Any]) -> None:
        if words := describe(row):
            click.echo(printable(f"kick: {words}"))

    try:
        BlockingControlClient(folder, "link", KICK_S).ask("link.kick", on_row=on_row)
    except ControlError as error:
        trouble.append(error)
