"""finger: our domain and CRLF to the finger port, the answer read to its end (RFC 1288 §2.2)."""

from cmail.link.kicks.reach import say
from cmail.link.kicks.target import KickResult, Target, is_one_line, refused


async def finger(target: Target) -> KickResult:
    """Connect, send the text, read to the end."""
    if not is_one_line(target.text):
        return refused(f"kick: {target.text!r} cannot be sent as one line")
    return await say(target, target.text.encode("ascii") + b"\r\n")
