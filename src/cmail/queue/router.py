"""Recipient -> route, and what becomes of one that is an alias: the routing table and the directory asked."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

from cmail.delivery.settings import SmtpSettings
from cmail.mail.address import Address, parse_address
from cmail.mail.envelope import Notify, Recipient
from cmail.mail.limits import ALIAS_DEPTH_MAX
from cmail.mail.outcome import Expanded, PermanentFailure
from cmail.mail.status import BAD_MAILBOX, ROUTING_LOOP
from cmail.policy.rewriting import Directory, ToAddresses, ToMailbox, Unknown
from cmail.policy.routing import (
    HOST_PREFIX,
    LMTP,
    LOCAL,
    MX_PREFIX,
    RELAY,
    RoutingTable,
    is_internet,
)
from cmail.storage.spool import QueuedRecipient

LOOPS = PermanentFailure(
    f"its aliases lead through more than {ALIAS_DEPTH_MAX} expansions", detail=ROUTING_LOOP
)
UNKNOWN = PermanentFailure("no such user here", detail=BAD_MAILBOX)


class Router:
    """A snapshot of where everything goes; replaced as a whole when settings or accounts change."""

    def __init__(self, table: RoutingTable, directory: Directory, smtp: SmtpSettings) -> None:
        self.table = table
        self.directory = directory
        self._is_smarthost_here = is_loopback(smtp.host)

    def route(self, address: Address) -> str:
        """The route of a forward-path."""
        return self.table.route(address)

    def needs_link(self, route: str) -> bool:
        """Whether what waits on the route needs the link: all but what is for this machine."""
        if route == RELAY:
            return not self._is_smarthost_here
        if route.startswith(MX_PREFIX):
            return not is_loopback(route[len(MX_PREFIX) :])
        return route.startswith(HOST_PREFIX) and is_internet(route)

    def expand(
        self, queued: QueuedRecipient, others: Iterable[Recipient]
    ) -> Expanded | PermanentFailure | None:
        """What an alias leads to; None for a mailbox. `others` get the message anyway."""
        address = queued.recipient.forward_path
        found = self.directory.resolve(address, is_expanded=queued.alias_depth > 0)
        match found:
            case ToMailbox():
                return None
            case Unknown():
                return UNKNOWN
            case ToAddresses(addresses):
                if queued.alias_depth >= ALIAS_DEPTH_MAX:
                    return LOOPS
                there = {r.forward_path for r in others if r.forward_path != address}
                return Expanded(tuple(a.text for a in addresses if a not in there))

    def stand_ins(self, queued: QueuedRecipient, outcome: Expanded) -> tuple[QueuedRecipient, ...]:
        """The recipients that stand in the place of one that was expanded."""
        is_only = len(outcome.targets) == 1
        targets = [parse_address(text.encode()) for text in outcome.targets]
        return tuple(self._stand_in(queued, target, is_only) for target in targets)

    def _stand_in(self, queued: QueuedRecipient, address: Address, is_only: bool) -> QueuedRecipient:
        """RFC 3461 §5.2.7: one target inherits what its sender asked; of several success is told
        once, as 'expanded', so they are not asked for it."""
        asked = queued.recipient
        notify = asked.notify
        if not is_only and notify & Notify.SUCCESS:
            notify = notify & ~Notify.SUCCESS or Notify.NEVER
        orcpt = asked.orcpt or (f"rfc822;{asked.forward_path}" if asked.forward_path.is_ascii else "")
        recipient = replace(asked, forward_path=address, notify=notify, orcpt=orcpt)
        depth = queued.alias_depth + 1
        return QueuedRecipient(0, recipient, self.route(address), alias_depth=depth, rank=queued.rank)


def is_for_mailboxes(route: str) -> bool:
    """Whether the recipients of a route are ours, so that one may be an alias."""
    return route == LOCAL or route == LMTP


def is_loopback(host: str) -> bool:
    """Whether a host, an address or an address literal is this machine, whatever the link does."""
    name = host.strip().strip("[]").lower().removeprefix("ipv6:").rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
