"""Acquaintances: what hosts said of themselves last time, so that less is asked over a thin link."""

from collections import OrderedDict
from typing import Final

from cmail.delivery.hosts import Host
from cmail.protocol.smtp.client_handshake import Acquaintance

_REMEMBERED_MAX: Final = 1000


class Acquaintances:
    """One for each host and way to speak to it; over outages, not over restarts. Who was met least
    lately is forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Host, str, bool], Acquaintance] = OrderedDict()

    def of(self, host: Host, tls: str, *, has_log_in: bool) -> Acquaintance:
        """To be read by the next handshake, and written."""
        key = (host, tls, has_log_in)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Acquaintance()
            if len(self._known) > _REMEMBERED_MAX:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known
