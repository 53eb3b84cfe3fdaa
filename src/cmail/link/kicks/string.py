"""string: a text of the settings, as it stands there, to a port; what comes back is shown."""

from typing import Final

from cmail.link.kicks.reach import say
from cmail.link.kicks.target import KickResult, Target, refused
from cmail.link.kicks.texts import unescape

QUIET_S: Final = 5.0  # who has answered and is silent for so long has said all


async def string(target: Target, quiet_s: float = QUIET_S) -> KickResult:
    """Connect, send, read until it closes or is silent."""
    try:
        octets = unescape(target.text)
    except ValueError as error:
        return refused(f"kick: {target.text!r} cannot be sent: {error}")
    return await say(target, octets, quiet_s)
