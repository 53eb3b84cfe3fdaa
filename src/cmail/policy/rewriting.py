"""Who an address of ours is: users, aliases, plus addressing, catch-all, postmaster."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cmail.mail.address import Address, parse_address
from cmail.mail.limits import ALIAS_TARGETS_MAX

POSTMASTER: Final = "postmaster"
_POSTMASTERS: Final = frozenset((POSTMASTER, "root"))  # cron writes to root; bounces to cron go there too
_REMEMBERED_MAX: Final = 4096  # answers kept; then all are forgotten, so guessing costs no memory


@dataclass(frozen=True, slots=True)
class ToMailbox:
    """Stored here (or handed to the LMTP server) under this address, in lower case."""

    address: Address


@dataclass(frozen=True, slots=True)
class ToAddresses:
    """Other recipients stand in its place. No alias of ours is left in them, and none is twice;
    who resolves one of them again says `is_expanded`."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody here has this address."""


Resolution = ToMailbox | ToAddresses | Unknown
_UNKNOWN: Final = Unknown()


class Directory:
    """A snapshot of users and aliases; never changes, so its answers may be remembered.

    Case does not matter in a local part of ours. The host name (and an address literal of ours) means
    the primary domain. What matches first wins: alias, user, the same without what stands behind the
    separator, the catch-all of the domain, postmaster (whom every domain has, RFC 5321 §4.5.1). Mail for
    root is postmaster's when nobody has that name: what a machine tells its keeper must not get lost."""

    def __init__(
        self,
        users: frozenset[str],
        aliases: Mapping[str, tuple[str, ...]],
        *,
        separator: str = "+",
        domains: tuple[str, ...] = (),
        hostname: str = "localhost",
        refuse_unknown_users: bool = True,
        is_lmtp: bool = False,
    ) -> None:
        self._users = users
        self._aliases = aliases
        self._separator = separator
        self._domains = frozenset(domains)
        self._hostname = hostname.lower()
        self._primary = domains[0] if domains else self._hostname
        self._refuse_unknown_users = refuse_unknown_users
        self._is_lmtp = is_lmtp
        self._remembered: dict[tuple[str, bool], Resolution] = {}

    @property
    def primary_domain(self) -> str:
        """The domain that a bare name gets."""
        return self._primary

    def resolve(self, address: Address, *, is_expanded: bool = False) -> Resolution:
        """Where mail for a local address goes. `is_expanded`: an alias led to it already, so a user
        who is an alias too (a mailbox that also forwards) is the mailbox now."""
        key = (address.text, is_expanded)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            found = self._remembered[key] = self._resolve(address, is_expanded)
        return found

    def _resolve(self, address: Address, is_expanded: bool) -> Resolution:
        name = self._find(address)
        if name is None and not self._refuse_unknown_users:
            if self._is_lmtp:
                return ToMailbox(address)  # the LMTP server knows its users
            name = self._postmaster()
        if name is None:
            return _UNKNOWN
        if name in self._aliases and not (is_expanded and name in self._users):
            return self._expand(name)
        return ToMailbox(_address(name))

    def _find(self, address: Address) -> str | None:
        """The alias, user or catch-all that an address of ours means."""
        local_part = address.local_part.lower()
        domain = address.domain
        for at in (domain,) if domain in self._domains else (domain, self._primary):
            name = self._find_at(local_part, at)
            if name is not None:
                return name
        return self._postmaster() if local_part in _POSTMASTERS else None

    def _find_at(self, local_part: str, domain: str) -> str | None:
        whole = f"{local_part}@{domain}"
        if self._is_known(whole):
            return whole
        if self._separator and not local_part.startswith('"'):
            plain = f"{local_part.partition(self._separator)[0]}@{domain}"
            if self._is_known(plain):
                return plain
        catch_all = f"@{domain}"
        return catch_all if catch_all in self._aliases else None

    def _is_known(self, name: str) -> bool:
        return name in self._aliases or name in self._users

    def _postmaster(self) -> str:
        return f"{POSTMASTER}@{self._primary}"

    def _expand(self, alias: str) -> Resolution:
        """All that an alias leads to, through the aliases it names; a loop among them just ends."""
        found: dict[Address, None] = {}  # in order, each once
        seen = {alias}
        waiting = [(alias, target) for target in reversed(self._aliases[alias])]
        while waiting and len(found) < ALIAS_TARGETS_MAX:
            parent, text = waiting.pop()
            target = _address(text)
            name = self._find(target) if self._is_ours(target.domain) else None
            if name is None:
                found[target] = None  # outside; or nobody, and its own attempt will say so
            elif name not in self._aliases or (name == parent and name in self._users):
                found[_address(name)] = None
            elif name not in seen:
                seen.add(name)
                waiting += [(name, target) for target in reversed(self._aliases[name])]
        return ToAddresses(tuple(found)) if found else _UNKNOWN

    def _is_ours(self, domain: str) -> bool:
        return domain in self._domains or domain == self._hostname


def _address(text: str) -> Address:
    return parse_address(text.encode())
