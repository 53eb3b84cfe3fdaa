"""`cmail quarantine list|show|release|repair|delete|senders`: mail that Validation would have refused."""

import json
import sys
import time
from typing import Final

import click

from cmail.admin.quarantine import look_at, refusals, row
from cmail.admin.rows import duration
from cmail.cli.command import Group, config_option
from cmail.cli.exits import Exit, Refusal
from cmail.cli.listing import printable
from cmail.cli.place import Place, become_owner, find_place
from cmail.storage.quarantine import Kept, NotThereError, Quarantine, QuarantineError

_PIECE: Final = 256 * 1024


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """Mail that Validation would have refused, but that came on a way that cannot refuse.

    It is kept for 30 days. Release sends it on as it is; repair shows what it would mend, and does it with
    --yes."""


def _open() -> tuple[Place, Quarantine]:
    place = find_place(config_option())
    become_owner(place)
    return place, Quarantine(place.data_dir)


def _refusal(error: QuarantineError) -> Refusal:
    return Refusal(str(error), Exit.NO_USER if isinstance(error, NotThereError) else Exit.DATA)


@command.command("list")
@click.option("--json", "is_json", is_flag=True, help="One array, an object a message.")
def list_(is_json: bool) -> int:
    """What is there, the newest first."""
    _, quarantine = _open()
    kept = quarantine.all_kept()
    for name in quarantine.damaged():
        print(f"cmail: {quarantine.folder}/{printable(name)} is damaged", file=sys.stderr)
    if is_json:
        click.echo(json.dumps([row(each) for each in kept]))
        return Exit.OK
    for each in kept:
        _print(each)
    if not kept:
        click.echo("The quarantine is empty.")
    return Exit.OK


def _print(kept: Kept) -> None:
    now_ms = time.time_ns() // 1_000_000
    to = ", ".join(f"<{each.forward_path.text}>" for each in kept.envelope.recipients[:5])
    more = len(kept.envelope.recipients) - 5
    to += f" and {more} more" if more > 0 else ""
    age = duration(now_ms - kept.kept_ms)
    click.echo(
        printable(
            f"{kept.id}  {kept.size_bytes} octets, {age} ago  <{kept.envelope.reverse_path_text}> -> {to}"
        )
    )
    click.echo(printable(f"  {kept.origin}"))
    for defect in refusals(kept.defects):
        click.echo(printable(f"  {defect.text}"))
    for words in kept.repairs:
        click.echo(printable(f"  repaired: {words}"))


@command.command("show")
@click.argument("queue_id", metavar="ID")
@click.option("--content", is_flag=True, help="Its octets as they are, and nothing else.")
@click.option("--json", "is_json", is_flag=True, help="What is known of it as one object.")
def show(queue_id: str, content: bool, is_json: bool) -> int:
    """One message: envelope, defects, what a repair would do, header and the beginning of its text."""
    _, quarantine = _open()
    try:
        if content:
            return _copy(quarantine, queue_id)
        look = look_at(quarantine, queue_id)
    except QuarantineError as error:
        raise _refusal(error) from None
    if is_json:
        done = list(look.plan.done) if look.plan else []
        click.echo(json.dumps({**row(look.kept), "repairs_possible": done}))
        return Exit.OK
    _print(look.kept)
    for words in look.plan.done if look.plan else ():
        click.echo(f"  a repair would do this: {printable(words)}")
    click.echo(f"\n{look.header}\n{look.text}" + ("\n..." if look.is_cut else ""))
    return Exit.OK


def _copy(quarantine: Quarantine, queue_id: str) -> int:
    with quarantine.open(queue_id) as file:
        while piece := file.read(_PIECE):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return Exit.OK


@command.command("release")
@click.argument("queue_ids", metavar="ID...", nargs=-1, required=True)
def release(queue_ids: tuple[str, ...]) -> int:
    """Send it on as it is now. The server must run."""
    from cmail.admin.asking import Server  # what only looks does without it

    place, _ = _open()
    for queue_id in queue_ids:
        told = Server(place.data_dir).ask("worker-0", "quarantine.release", id=queue_id)
        count = int(told["recipients"])
        click.echo(f"{queue_id.upper()} is on its way to {count} recipient{'' if count == 1 else 's'}")
    return Exit.OK


@command.command("repair")
@click.argument("queue_id", metavar="ID")
@click.option("--yes", "is_sure", is_flag=True, help="Do it; without this it is only shown.")
def repair(queue_id: str, is_sure: bool) -> int:
    """Mend what can be mended without losing anything; then look, and release it."""
    _, quarantine = _open()
    try:
        plan = quarantine.plan(queue_id)
        if not plan.done:
            raise Refusal("nothing of it can be repaired safely", Exit.DATA)
        kept = quarantine.repair(queue_id) if is_sure else None
    except QuarantineError as error:
        raise _refusal(error) from None
    for words in plan.done:
        click.echo(f"{'done' if kept else 'would be done'}: {printable(words)}")
    for defect in refusals(plan.defects_left):
        click.echo(f"left: {printable(defect.text)}")
    if kept is None:
        click.echo(f"To do it: cmail quarantine repair --yes {queue_id}")
    return Exit.OK


@command.command("delete")
@click.argument("queue_ids", metavar="ID...", nargs=-1, required=True)
def delete(queue_ids: tuple[str, ...]) -> int:
    """Throw it away; nobody is told."""
    _, quarantine = _open()
    for queue_id in queue_ids:
        try:
            quarantine.remove(queue_id)
        except QuarantineError as error:
            raise _refusal(error) from None
        click.echo(f"{queue_id.upper()} is deleted")
    return Exit.OK


@command.command("senders")
@click.option("--json", "is_json", is_flag=True, help="One array, an object a sender.")
def senders(is_json: bool) -> int:
    """Whose mail was odd but readable, and in what, since each worker was started. The server must run."""
    from cmail.admin.asking import Server
    from cmail.admin.quarantine import noted_senders

    answers = Server(find_place(config_option()).data_dir).ask_workers("validation.noted", 10.0)
    found = noted_senders([row for answer in answers for row in answer.rows])
    if is_json:
        rows = [{"sender": s.sender, "messages": s.messages, "noted": dict(s.notes)} for s in found]
        click.echo(json.dumps(rows))
        return Exit.OK
    for each in found:
        words = "; ".join(f"{words} ({count})" for words, count in each.notes)
        click.echo(printable(f"<{each.sender}>  {each.messages}  {words}"))
    if not found:
        click.echo("Nothing was odd so far.")
    return Exit.OK
