"""`cmail checks`: DNS, certificate, way out, clock, disk; what is, what should be, the record to copy."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit, Refusal
from cmail.cli.place import become_owner, find_config, find_place

if TYPE_CHECKING:
    from cmail.admin.checks.board import Row
    from cmail.app.settings import Settings

_WRONG = 1


@click.command(cls=Command)
@click.option("--json", "is_json", is_flag=True, help="As one list of objects.")
@click.argument("name", required=False, default="")
def command(is_json: bool, name: str) -> int:
    """Check what has to be right around a mail server. NAME is one row (disk, mx:example.org), or a kind
    of rows (mx), or a domain. Ends with 1 when something is wrong."""
    from cmail.app.config import load
    from cmail.app.snapshot import Source

    place = find_place(config_option())
    settings = load(find_config(config_option()))
    password = Source(place.config).read(1).smtp_password if _needs_password(settings, name) else ""
    become_owner(place)
    rows = asyncio.run(_run(settings, password, name))
    if is_json:
        click.echo(json.dumps([_fields(row) for row in rows], indent=2))
    else:
        for row in rows:
            click.echo("\n".join(_lines(row)))
    return _WRONG if any(_is_wrong(row) for row in rows) else Exit.OK


def _needs_password(settings: "Settings", name: str) -> bool:
    return name in ("", "upstream") and bool(settings.smtp.username)


async def _run(settings: "Settings", password: str, name: str) -> "list[Row]":
    from cmail.admin.checks.board import CheckBoard
    from cmail.admin.checks.reach import real_reach
    from cmail.admin.processes import Processes
    from cmail.app.checks import subject_of
    from cmail.net.control import RUN_FOLDER

    processes = Processes(f"{settings.host.data_dir}/{RUN_FOLDER}", 0)
    subject = subject_of(settings, password)
    board = CheckBoard(lambda: subject, real_reach(processes, settings.dns))
    checks = [row.check for row in board.rows()]
    wanted = [check.name for check in checks if name.lower() in ("", check.name, check.kind, check.domain)]
    if not wanted:
        known = ", ".join(check.name for check in checks)
        raise Refusal(f"there is no check {name!r}; there are: {known}", Exit.USAGE)
    return await board.run(wanted)


def _is_wrong(row: "Row") -> bool:
    from cmail.admin.checks.finding import State

    return row.state is State.WRONG


def _fields(row: "Row") -> dict[str, Any]:
    assert row.result is not None, "it was waited for"
    finding = row.result.finding
    return {
        "name": row.check.name,
        "title": row.check.title,
        "domain": row.check.domain,
        "state": str(finding.state),
        "found": finding.found,
        "expected": finding.expected,
        "advice": finding.advice,
        "records": list(finding.records),
        "raw": list(finding.raw),
        "checked_ms": row.result.wall_ms,
    }


def _lines(row: "Row") -> list[str]:
    told = _fields(row)
    lines = [f"{told['state']:<11}{told['name']}: {told['found']}"]
    if told["state"] != "good":
        lines += [f"{'':<11}What should be: {told['expected']}"] if told["expected"] else []
        lines += [f"{'':<11}{told['advice']}"] if told["advice"] else []
        lines += [f"{'':<15}{record}" for record in told["records"]]
    return lines
