"""Users and Aliases: who has a mailbox here, which addresses stand for others. It holds at once."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.admin.accounts import change_accounts
from cmail.admin.people import MailboxSize, field_of, good_password, mailbox_size, words_of
from cmail.net.control import ControlError
from cmail.policy.rewriting import POSTMASTER
from cmail.storage.account_book import AccountBook, AccountError, Alias
from cmail.storage.account_list import PAGE, AccountList
from cmail.web.page import Pages, go_to, read_form, session_of, text_of
from cmail.web.pages.dialog import UNPROCESSABLE

T = TypeVar("T")
_NOT_FOUND: Final = 404
_TARGETS_OCTETS_MAX: Final = 100_000
_NOT_TAKEN: Final = "It is written, but the running server did not take it over yet: {}"


class Users:
    """The handlers, and what they share."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._data_dir = pages.context.data_dir
        self._list = AccountList(self._data_dir)

    # Looking.

    async def index(self, request: Request) -> Response:
        """GET /users."""
        return await self._index(request)

    async def _index(
        self,
        request: Request,
        *,
        status: int = 200,
        errors: Mapping[str, str] | None = None,
        given: Mapping[str, str] | None = None,
    ) -> Response:
        query = request.query_params
        text = query.get("q", "").strip()
        after, aliases_after = _number(query.get("after")), _number(query.get("aliases-after"))
        domains, _ = self._names()

        def read() -> tuple[Any, Any, bool]:
            users = self._list.users(text, after=after)
            aliases = self._list.aliases(text, after=aliases_after)
            return users, aliases, not domains or self._is_postmaster_read(domains[0])

        try:
            users, aliases, has_postmaster = await asyncio.to_thread(read)
        except AccountError as error:
            return await self._pages.show(
                request, "trouble.html", status=503, title="Users and Aliases", words=words_of(error)
            )
        return await self._pages.show(
            request,
            "users.html",
            status=status,
            title="Users and Aliases",
            users=users,
            aliases=aliases,
            query=text,
            after=after,
            aliases_after=aliases_after,
            page=PAGE,
            domains=domains,
            has_postmaster=has_postmaster,
            errors=errors or {},
            given=given or {},
        )

    def _is_postmaster_read(self, domain: str) -> bool:
        """Whether somebody gets what is written to postmaster."""
        name = f"{POSTMASTER}@{domain}"
        return bool(self._list.user(name) or self._list.alias(name) or self._list.alias(f"@{domain}"))

    async def user(self, request: Request) -> Response:
        """GET /users/user?address="""
        return await self._user(request, request.query_params.get("address", ""))

    async def _user(self, request: Request, address: str, status: int = 200, error: str = "") -> Response:
        def read() -> tuple[Any, list[str]]:
            return self._list.user(address), self._list.leading_to(address)

        user, leading = await asyncio.to_thread(read)
        if user is None:
            return await self._gone(request, f"There is no user {address}.")
        size: MailboxSize | None = None
        if "size" in request.query_params:
            size = await asyncio.to_thread(mailbox_size, self._data_dir, user.address)
        is_here = self._pages.context.desk.settings()["local.delivery"].saved != "lmtp"
        return await self._pages.show(
            request,
            "users_user.html",
            status=status,
            title=user.address,
            user=user,
            leading=leading,
            size=size,
            is_mailbox_here=is_here,
            error=error,
        )

    async def delete_form(self, request: Request) -> Response:
        """GET /users/delete?address=: ask first."""
        address = request.query_params.get("address", "")
        user = await asyncio.to_thread(self._list.user, address)
        if user is None:
            return await self._gone(request, f"There is no user {address}.")
        leading = await asyncio.to_thread(self._list.leading_to, user.address)
        return await self._pages.show(
            request, "users_delete.html", title=f"Delete {user.address}?", user=user, leading=leading
        )

    async def alias(self, request: Request) -> Response:
        """GET /users/alias?address="""
        found = await asyncio.to_thread(self._list.alias, request.query_params.get("address", ""))
        if found is None:
            return await self._gone(request, "There is no such alias.")
        return await self._alias(request, found.address, "\n".join(found.targets))

    async def _alias(
        self, request: Request, address: str, targets: str, status: int = 200, error: str = ""
    ) -> Response:
        return await self._pages.show(
            request,
            "users_alias.html",
            status=status,
            title=address,
            address=address,
            targets=targets,
            error=error,
        )

    async def _gone(self, request: Request, words: str) -> Response:
        return await self._pages.show(request, "trouble.html", status=_NOT_FOUND, title="Sorry", words=words)

    # Changing.

    async def add(self, request: Request) -> Response:
        """POST /users/add."""
        form = await read_form(request)
        address, typed = text_of(form, "address"), str(form.get("password", ""))
        password = typed or good_password()
        try:
            added = await self._change(request, lambda book: book.add_user(address, password))
        except AccountError as error:
            errors = {f"user-{field_of(error, address)}": words_of(error)}
            return await self._index(
                request, status=UNPROCESSABLE, errors=errors, given={"user-address": address}
            )
        return go_to(request, "/users", _told(added, "can log in now", typed, password))

    async def password(self, request: Request) -> Response:
        """POST /users/password."""
        form = await read_form(request)
        address, typed = text_of(form, "address"), str(form.get("password", ""))
        password = typed or good_password()
        try:
            await self._change(request, lambda book: book.set_password(address, password))
        except AccountError as error:
            return await self._user(request, address, UNPROCESSABLE, words_of(error))
        words = _told(address, "has a new password; the old one is worth nothing any more", typed, password)
        return go_to(request, "/users/user", words, address=address)

    async def delete(self, request: Request) -> Response:
        """POST /users/delete."""
        address = text_of(await read_form(request), "address")
        try:
            await self._change(request, lambda book: book.delete_user(address))
        except AccountError as error:
            return go_to(request, "/users", words_of(error), "failed")
        words = f"{address} is deleted. The mail that is stored for it stays in the data folder, under mail/."
        return go_to(request, "/users", words)

    async def set_alias(self, request: Request) -> Response:
        """POST /users/alias: a new one, or another meaning of one that is there."""
        form = await read_form(request)
        old, address = text_of(form, "old"), text_of(form, "old") or text_of(form, "address")
        text = str(form.get("targets", ""))[:_TARGETS_OCTETS_MAX]
        targets = text.replace(",", " ").replace(";", " ").split()

        def change(book: AccountBook) -> tuple[Alias, list[str]]:
            alias = book.add_alias(address, targets, is_replaced=bool(old))
            return alias, book.nobodies(alias.targets)

        try:
            alias, nobodies = await self._change(request, change)
        except AccountError as error:
            words = words_of(error)
            if old:
                return await self._alias(request, old, text, UNPROCESSABLE, words)
            errors = {f"alias-{field_of(error, address, targets)}": words}
            given = {"alias-address": address, "alias-targets": text}
            return await self._index(request, status=UNPROCESSABLE, errors=errors, given=given)
        for nobody in nobodies:
            session_of(request).say(f"Nobody here has {nobody} yet.", "note")
        return go_to(request, "/users", f"{alias.address} leads to {', '.join(alias.targets)}.")

    async def delete_alias(self, request: Request) -> Response:
        """POST /users/alias/delete."""
        address = text_of(await read_form(request), "address")
        before = await asyncio.to_thread(self._list.alias, address)
        try:
            await self._change(request, lambda book: book.delete_alias(address))
        except AccountError as error:
            return go_to(request, "/users", words_of(error), "failed")
        targets = ", ".join(before.targets) if before else "nobody"
        return go_to(request, "/users", f"The alias {address} is deleted. It led to {targets}.")

    async def _change(self, request: Request, change: Callable[[AccountBook], T]) -> T:
        """Do it and wait until the workers know. AccountError: nothing is changed."""
        domains, hostname = self._names()
        done: list[T] = []

        def keep(book: AccountBook) -> None:
            done.append(change(book))

        try:
            await asyncio.to_thread(change_accounts, self._data_dir, domains, hostname, keep)
        except ControlError as error:
            session_of(request).say(_NOT_TAKEN.format(error.words), "failed")
        return done[0]

    def _names(self) -> tuple[tuple[str, ...], str]:
        """Our domains and our name, as the file says them."""
        settings = self._pages.context.desk.settings()
        domains = tuple(str(each).lower().removesuffix(".") for each in settings["host.domains"].saved)
        return domains, str(settings["host.hostname"].saved).lower().removesuffix(".")


def _told(address: str, what: str, typed: str, password: str) -> str:
    if typed:
        return f"{address} {what}."
    return f"{address} {what}. The password is {password} – write it down: it is shown this once."


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 9 else 0


def routes(pages: Pages) -> list[Route]:
    """/users and what is below it."""
    users = Users(pages)
    return [
        Route("/users", users.index, methods=["GET"]),
        Route("/users/add", users.add, methods=["POST"]),
        Route("/users/user", users.user, methods=["GET"]),
        Route("/users/password", users.password, methods=["POST"]),
        Route("/users/delete", users.delete_form, methods=["GET"]),
        Route("/users/delete", users.delete, methods=["POST"]),
        Route("/users/alias", users.alias, methods=["GET"]),
        Route("/users/alias", users.set_alias, methods=["POST"]),
        Route("/users/alias/delete", users.delete_alias, methods=["POST"]),
    ]
