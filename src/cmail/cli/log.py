"""`cmail log`: what happened, as sentences; by kind, by address or queue id, of older days, as it happens."""

import asyncio
import json
import os
import time
from contextlib import aclosing

import click

from cmail.admin.events import KINDS, USUAL, Event
from cmail.admin.journal import ALL, LIMIT_MAX, Journal, as_object
from cmail.admin.journal_scan import Wanted, is_day
from cmail.admin.sentences import sentence
from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit, Refusal
from cmail.cli.listing import printable
from cmail.cli.place import become_owner, find_place
from cmail.observe.journal_files import FOLDER


@click.command(cls=Command)
@click.argument("words", nargs=-1)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only these; repeat it.")
@click.option("--day", default="", help="One day: 2026-11-23.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, LIMIT_MAX), help="The last so many."
)
@click.option("--follow", is_flag=True, help="Go on with what happens from now; Ctrl-C ends it.")
@click.option("--json", "is_json", is_flag=True, help="One object a line, with the raw lines.")
def command(
    words: tuple[str, ...], kinds: tuple[str, ...], day: str, limit: int, follow: bool, is_json: bool
) -> int:
    """What happened, the latest last. WORDS: an address, a queue id, anything; all of them must be in it."""
    if day and not is_day(day):
        raise Refusal(f"{day!r} is no day: such as {time.strftime('%Y-%m-%d')}", Exit.USAGE)
    place = find_place(config_option())
    become_owner(place)
    folder = os.path.join(place.data_dir, FOLDER)
    if not os.path.isdir(folder):
        raise Refusal(
            "there is no copy of the log yet: a server with admin.address set keeps one", Exit.NO_INPUT
        )
    wanted = Wanted(" ".join(words), frozenset(kinds) or (ALL if words else USUAL), day)
    asyncio.run(_show(Journal(folder), wanted, limit, follow, is_json))
    return Exit.OK


async def _show(journal: Journal, wanted: Wanted, limit: int, follow: bool, is_json: bool) -> None:
    place = await journal.place()  # first: nothing is missed between what was and what comes
    for event in reversed((await journal.find(wanted, limit)).events):
        _print(event, is_json)
    if not follow:
        return
    async with aclosing(journal.stream(wanted, place)) as batches:
        async for batch in batches:
            for event in batch.events:
                _print(event, is_json)


def _print(event: Event, is_json: bool) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.wall_ms / 1000))
    words = json.dumps(as_object(event)) if is_json else f"{when}  {printable(sentence(event))}"
    click.echo(words)  # flushed: who follows sees it now
