"""The settings files of before, for `cmail config`: seen and brought back as the page does it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from cmail.admin.asking import Server
from cmail.admin.rows import rfc3339
from cmail.app.desk import FileDesk
from cmail.cli.exits import Exit, Refusal
from cmail.cli.place import become_owner, find_place
from cmail.net.control_client import NotRunningError
from cmail.web.desk import DraftError, Version


def all_versions(config: str) -> Sequence[Version]:
    """The newest first."""
    return _desk(config).versions()


def bring_back(config: str, number: int) -> Sequence[str]:
    """Write the file of this number and have it taken over; what is to be said of it."""
    try:
        said = asyncio.run(_desk(config).bring_back(number, "cmail config return"))
    except KeyError:
        raise Refusal(f"there is no version {number} (see: cmail config versions)", Exit.NO_INPUT) from None
    except DraftError as error:
        raise Refusal(str(error), Exit.CONFIG) from None
    return [*said, f"The file is that of version {number} again."]


def describe(version: Version) -> dict[str, Any]:
    """For programs."""
    changes = [{"key": each.key, "old": each.old, "new": each.new} for each in version.changes]
    return {
        "number": version.number,
        "saved": rfc3339(version.wall_ms),
        "by": version.by,
        "changes": changes,
    }


def _desk(config: str) -> FileDesk:
    place = find_place(config)
    become_owner(place)

    async def apply() -> None:
        try:
            await asyncio.to_thread(Server(place.data_dir).ask, "supervisor", "reload")
        except NotRunningError:
            pass  # it reads the file when it starts

    return FileDesk(place.config, place.data_dir, apply)
