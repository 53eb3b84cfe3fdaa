"""`cmail send-test ADDRESS`: makes a message, submits it over SMTP, follows it, says where it went."""

import time
from typing import Final

import click

from cmail.admin.smtp_dialogue import DialogueError, Said
from cmail.admin.trial import Ending, Progress, Trial, hand_in, open_listener
from cmail.admin.trial import Place as TrialPlace
from cmail.cli.address_list import qualify
from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit, Refusal
from cmail.cli.place import Place, find_place
from cmail.mail.address import Address, AddressSyntaxError

_LOOK_S: Final = 0.05
_CODES: Final = {
    Ending.DELIVERED: Exit.OK,
    Ending.GONE: Exit.OK,
    Ending.UNSEEN: Exit.OK,
    Ending.FAILED: Exit.UNAVAILABLE,
    Ending.WAITS: Exit.TEMPORARY,
}


@click.command(cls=Command)
@click.argument("address")
@click.option("--from", "from_", default="", help="The sender; else postmaster.")
@click.option("--wait", "wait_s", default=15.0, show_default=True, help="Seconds to follow it.")
def command(address: str, from_: str, wait_s: float) -> int:
    """Send a test message through the server and say where it went.

    Ends with 0 when it was delivered or relayed, 75 when it waits, 69 when it was refused."""
    place = find_place(config_option())
    return send(place, _address(address, place), _address(from_ or "postmaster", place), wait_s)


def send(place: Place, recipient: Address, sender: Address, wait_s: float) -> int:
    """Send one and follow it; the exit code."""
    listener = open_listener(place.data_dir, place.tables.get("listener", ()))
    if listener is None:
        raise Refusal(f'{place.config} has no [[listener]] of kind = "smtp" to send it to', Exit.CONFIG)
    click.echo(f"To {listener[0]}:{listener[1]}: a test message from {sender} to {recipient}")
    separator = place.tables.get("local", {}).get("separator", "+")
    where = TrialPlace(place.data_dir, place.bare_name_domain, separator)
    try:
        trial = hand_in(where, listener, sender, recipient)
    except DialogueError as error:
        raise Refusal(str(error), Exit.TEMPORARY if error.is_temporary else Exit.UNAVAILABLE) from None
    if isinstance(trial, Said):
        return _refused(trial)
    click.echo(f"Taken: {trial.reply}")
    return _tell(follow(trial, wait_s)) if trial.queue_id else Exit.OK


def follow(trial: Trial, wait_s: float) -> Progress:
    """Until it is delivered, relayed, failed or put off, or the time is over."""
    until = time.monotonic() + wait_s
    while True:
        progress = trial.look(is_late=time.monotonic() > until)
        if progress.ending is not None:
            return progress
        time.sleep(_LOOK_S)


def _tell(progress: Progress) -> int:
    for line in progress.lines:
        click.echo(line, err=progress.ending is Ending.UNSEEN)
    assert progress.ending is not None, "it was followed until it ended"
    return _CODES[progress.ending]


def _address(text: str, place: Place) -> Address:
    try:
        return qualify(text, place.bare_name_domain)
    except AddressSyntaxError as error:
        raise click.UsageError(str(error)) from None


def _refused(said: Said) -> int:
    click.echo(f"Refused: {said.command} was answered with: {said.reply}", err=True)
    return Exit.TEMPORARY if said.reply.is_temporary else Exit.UNAVAILABLE
