"""The file that `sendmail` leaves in DATA/drop: one line of JSON, the envelope, then the content.

The content is plain: lines as the program gave them (LF or CRLF), no dot doubled, to the end of the
file. Whoever may send may write such a file, so nothing in it is believed but what anybody may claim."""

import json
from typing import Any, Final

from cmail.mail.address import Address, parse_address
from cmail.mail.envelope import Envelope, Notify, Recipient

VERSION: Final = 1
NEW_PREFIX: Final = "new-"  # still being written
READY_PREFIX: Final = "msg-"  # whole and durable: this name is given by rename
TAKEN_PREFIX: Final = "taken-"  # the server is at it; the queue id stands behind
ENVELOPE_OCTETS_MAX: Final = 8 * 2**20  # 10,000 recipients with all that they may carry
RECIPIENTS_MAX: Final = 10_000


class DropFileError(ValueError):
    """Not a file that our sendmail wrote; says what is wrong."""


def print_envelope(envelope: Envelope) -> bytes:
    """The first line of the file, with its LF."""
    line = {"cmail_drop": VERSION, **envelope.fields()}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def parse_envelope(line: bytes) -> Envelope:
    """The envelope of the first line; DropFileError when it is none."""
    try:
        table = json.loads(line)
        if table["cmail_drop"] != VERSION:
            raise DropFileError(f"format {table['cmail_drop']!r} is not known here")
        recipients = tuple(_recipient(entry) for entry in table["to"])
        if not 0 < len(recipients) <= RECIPIENTS_MAX:
            raise DropFileError(f"{len(recipients)} recipients")
        reverse_path = _address(table["from"]) if table["from"] else None
        return Envelope(
            reverse_path,
            recipients,
            ret=_text(table["ret"], ("", "FULL", "HDRS")),
            envid=_text(table["envid"]),
            is_smtputf8=bool(table["smtputf8"]),
            is_8bit=bool(table["body8bit"]),
        )
    except DropFileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DropFileError(f"no envelope in its first line ({error})") from None


def _recipient(entry: dict[str, Any]) -> Recipient:
    notify = Notify(int(entry["notify"]) & 15)
    return Recipient(_address(entry["address"]), _text(entry["orcpt"]), notify)


def _address(text: str) -> Address:
    return parse_address(text.encode())


def _text(value: object, allowed: tuple[str, ...] = ()) -> str:
    """A value that goes into a line one day: printable, short (rule 17)."""
    if not isinstance(value, str) or len(value) > 1000 or not (value.isprintable()):
        raise DropFileError(f"{value!r:.60} cannot stand in a line")
    if allowed and value not in allowed:
        raise DropFileError(f"{value!r:.60} is none of {allowed}")
    return value
