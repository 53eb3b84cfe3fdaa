"""Forwarding of whole domains: to a user or an address (the catch-all alias, at once) or to a host (a
[[forward]] of the settings, with Save Settings)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from cmail.admin.accounts import change_accounts
from cmail.net.control import ControlError
from cmail.storage.account_book import AccountBook, AccountError
from cmail.web.context import WebContext
from cmail.web.desk import DraftError, SettingView
from cmail.web.labels import choice_words

T = TypeVar("T")
ADDRESS: Final = "address"
HOST: Final = "host"
_TARGETS_OCTETS_MAX: Final = 10_000


class ForwardTrouble(Exception):
    """It cannot be done: at which field, and why."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field, self.words = field, words


@dataclass(frozen=True, slots=True)
class Forward:
    """One domain that leads elsewhere."""

    domain: str
    way: str  # address | host
    target: str
    note: str = ""


class Forwards:
    """Both kinds, as one list."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._desk = context.desk

    def all(self, settings: Mapping[str, SettingView]) -> list[Forward]:
        """With the draft; blocks for a file."""
        found = [
            Forward(
                alias.address[1:],
                ADDRESS,
                ", ".join(alias.targets),
                "Everything that nobody else there gets.",
            )
            for alias in self._catch_alls(settings)
        ]
        view = settings["forward"]
        for row in view.value:
            note = choice_words("smtp.tls", str(row.get("tls", "opportunistic"))).partition(":")[0] + "."
            note += "" if row in view.saved else " Not saved yet."
            found.append(Forward(str(row.get("domain")), HOST, str(row.get("host")), note))
        return sorted(found, key=lambda forward: forward.domain)

    def _catch_alls(self, settings: Mapping[str, SettingView]) -> Sequence[Any]:
        domains, hostname = _names(settings)
        try:
            with AccountBook(
                self._context.data_dir, domains=domains, hostname=hostname, creates=False
            ) as book:
                return [alias for alias in book.aliases() if alias.address.startswith("@")]
        except AccountError:  # there is none yet; who changes something hears why
            return []

    async def add(self, domain: str, way: str, target: str, tls: str, by: str) -> list[str]:
        """What was done, and what else is to be said of it; ForwardTrouble."""
        domain = _plain(domain.removeprefix("@"))
        if not domain:
            raise ForwardTrouble("domain", "Which domain?")
        if not target:
            raise ForwardTrouble("target", "Where to?")
        if way == HOST:
            return self._to_host(domain, target, tls, by)
        return await self._to_address(domain, target)

    def _to_host(self, domain: str, host: str, tls: str, by: str) -> list[str]:
        rows = list(self._desk.settings()["forward"].value)
        row = {"domain": domain, "host": host}
        if tls != "opportunistic":
            row["tls"] = tls
        places = [n for n, before in enumerate(rows) if _plain(before.get("domain")) == domain]
        place = places[0] if places else len(rows)
        rows[place : place + 1] = [row]
        try:
            self._desk.change({"forward": rows}, by)
        except DraftError as error:
            problem = error.problems[0]
            field = "target" if problem.key.endswith(".host") else "domain"
            advice = ""
            if "host.domains too" in problem.reason:
                advice = " Take it out of Domains above first."
            raise ForwardTrouble(
                field, f"{problem.reason[:1].upper()}{problem.reason[1:]}.{advice}"
            ) from None
        return [f"OK: mail for {domain} goes to {host}. Save Settings makes it hold."]

    async def _to_address(self, domain: str, target: str) -> list[str]:
        domains, _ = _names(self._desk.settings())
        if domain not in domains:
            words = f"{domain} is not one of our domains ({', '.join(domains) or 'none yet'})."
            raise ForwardTrouble("domain", f"{words} Put it into Domains above, and save, first.")
        targets = target[:_TARGETS_OCTETS_MAX].replace(",", " ").split()

        def change(book: AccountBook) -> list[str]:
            alias = book.add_alias(f"@{domain}", targets, is_replaced=True)
            said = [
                f"Mail for whoever has no mailbox at {domain} goes to {', '.join(alias.targets)}, at once."
            ]
            return said + [f"Nobody here has {each} (yet)." for each in book.nobodies(alias.targets)]

        return await self._change(change)

    async def remove(self, domain: str, way: str, by: str) -> str:
        """What was done; ForwardTrouble."""
        domain = _plain(domain)
        if way == HOST:
            rows = self._desk.settings()["forward"].value
            try:
                left = [row for row in rows if _plain(row.get("domain")) != domain]
                self._desk.change({"forward": left}, by)
            except DraftError as error:
                raise ForwardTrouble("", str(error)) from None
            return f"OK: {domain} is not forwarded any more. Save Settings makes it hold."
        await self._change(lambda book: book.delete_alias(f"@{domain}"))
        return f"Mail for {domain} goes to its own mailboxes alone, at once."

    async def _change(self, change: Callable[[AccountBook], T]) -> T:
        domains, hostname = _names(self._desk.settings())
        done: list[T] = []
        try:
            await asyncio.to_thread(
                change_accounts,
                self._context.data_dir,
                domains,
                hostname,
                lambda book: done.append(change(book)),
            )
        except AccountError as error:
            words = str(error)
            raise ForwardTrouble("target", f"{words[:1].upper()}{words[1:]}.") from None
        except ControlError as error:
            words = f"It is written, but the running server did not take it over yet: {error.words}"
            raise ForwardTrouble("", words) from None
        return done[0]


def _names(settings: Mapping[str, SettingView]) -> tuple[tuple[str, ...], str]:
    """Our domains and our name, as the running server has them."""
    domains = tuple(_plain(each) for each in settings["host.domains"].saved)
    return domains, _plain(settings["host.hostname"].saved)


def _plain(domain: object) -> str:
    return str(domain).strip().lower().removesuffix(".")
