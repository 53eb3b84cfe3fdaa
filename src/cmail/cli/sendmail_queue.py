"""`mailq` (`sendmail -bp`) and `sendmail -q`: the queue under its old names."""

import sys
from typing import Any, Final

from cmail.admin.queue_access import Queue, open_queue
from cmail.cli.exits import Exit, Refusal
from cmail.cli.listing import print_mailq
from cmail.cli.place import Place, become_owner
from cmail.net.control_client import ControlError

_FILTERS: Final = {"R": "to", "S": "from", "I": "ids"}  # -qRexample.org, -qSanna, -qI38G6...


def print_queue(place: Place) -> int:
    """Print what waits."""
    try:
        queue = _open(place)
        print_mailq(queue.rows({}), sys.stdout)
    except ControlError as error:
        raise Refusal(error.words, error.code) from error
    if queue.silent:
        raise Refusal(f"{', '.join(queue.silent)} did not answer: a part is missing", Exit.TEMPORARY)
    return Exit.OK


def flush_queue(place: Place, words: str) -> int:
    """Try what waits now. With the server down there is nobody to do it, and it is done at its start."""
    what: dict[str, Any] = {}
    if words:
        part: Any = words[1:]
        what[_FILTERS[words[0]]] = [part] if words[0] == "I" else part
    try:
        queue = _open(place)
        queue.change("flush", what)
    except ControlError as error:
        raise Refusal(error.words, error.code) from error
    return Exit.OK


def _open(place: Place) -> Queue:
    return open_queue(place.data_dir, lambda: become_owner(place))
