"""The shards of a worker: which are its own, opened with words for every trouble, and their routes."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from typing import Final

from cmail.app.ground import code_for
from cmail.app.process import EX_CONFIG, EX_OSERR, StartError
from cmail.observe import maillog
from cmail.policy.routing import RoutingTable
from cmail.storage import durable
from cmail.storage.migrations import SchemaTooNewError
from cmail.storage.spool import SpoolClosedError, SpoolError
from cmail.storage.spool_rows import stored_address
from cmail.storage.spool_shards import ShardTakenError, shards
from cmail.storage.spool_sqlite import SqliteSpool
from cmail.world import Clock

PATIENCE_S: Final = 10.0  # the process before us may still be closing a shard


def own_shards(folder: str, number: int, workers_count: int) -> list[int]:
    """A worker's own, and for the first worker those that nobody has since there are fewer of us."""
    orphans = [n for n in shards(folder) if n >= workers_count] if number == 0 else []
    return [number, *orphans]


async def open_shard(
    folder: str, shard: int, clock: Clock, needs_link: Callable[[str], bool], free_space_min: int
) -> SqliteSpool:
    """Open a shard of DATA/spool; StartError when that cannot be."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return SqliteSpool.open(
                folder,
                shard,
                clock,
                needs_link=needs_link,
                free_space_min=free_space_min,
                report=maillog.warned,
            )
        except ShardTakenError as error:
            if time.monotonic() > until:
                raise StartError(str(error)) from None
        except SchemaTooNewError as error:
            raise StartError(str(error), EX_CONFIG) from None
        except (SpoolError, OSError) as error:
            words = f"the spool {folder}/{shard} cannot be opened: {error}"
            raise StartError(words, code_for(error, EX_OSERR)) from None
        await asyncio.sleep(0.05)


async def reroute(
    folder: str, spool: SqliteSpool, table: RoutingTable, is_current: Callable[[], bool]
) -> int:
    """Routes stand in the spool: when the table is another than the one that they were chosen by, they
    are chosen anew; how many changed. A file beside the shard says which table that was."""
    path = os.path.join(folder, f"{spool.shard}.routing")
    if await asyncio.to_thread(_read, path) == _fingerprint(table):
        return 0
    try:
        count = await spool.reroute(lambda forward_path: table.route(stored_address(forward_path)))
    except SpoolClosedError:  # we are stopping: it is done at the next start
        return 0
    except SpoolError as error:
        maillog.warned(f"mail in the queue goes its old way until the next start: {error}")
        return 0
    if is_current():  # else it was replaced meanwhile, and who did that is at it again
        with contextlib.suppress(OSError):  # then it is done once more at the next start
            await asyncio.to_thread(durable.write_durably, path, _fingerprint(table))
    if count:
        maillog.noted(f"{count} recipients in the queue go another way, as the settings say now")
    return count


def _fingerprint(table: RoutingTable) -> bytes:
    facts = [table.hostname, sorted(table.domains), table.local_delivery, table.delivery]
    return json.dumps([*facts, sorted(table.own_literals), sorted(table.forwards.items())]).encode() + b"\n"


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
