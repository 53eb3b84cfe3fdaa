"""SMTP Configuration: the way out, its password, well-known providers, [Test connection], the kick."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.admin.upstream_steps import Step, is_fine
from cmail.admin.upstream_test import Upstream, test_mx, test_upstream
from cmail.delivery.connections import Tls
from cmail.mail.address import AddressSyntaxError, parse_address, parse_domain
from cmail.net.dns_client import DnsClient
from cmail.net.settings import DnsSettings
from cmail.web import providers
from cmail.web.desk import DraftError, SettingView
from cmail.web.forms import fields_of, read_fields
from cmail.web.page import Pages, go_to, read_form, session_of, text_of
from cmail.web.pages.dialog import UNPROCESSABLE

PATH: Final = "/smtp"
TITLE: Final = "SMTP Configuration"
PASSWORD_FILE: Final = "smtp.password_file"
KEYS: Final = (
    "smtp.delivery",
    "smtp.host",
    "smtp.port",
    "smtp.tls",
    "smtp.username",
    "smtp.kick",
    "smtp.trigger_port",
    "smtp.validation",
)
_PASSWORD_OCTETS_MAX: Final = 4096
_TYPED: Final = ("sender", "domain", "provider")  # of the form, beside settings


class SmtpPage:
    """The handlers, and what they share."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._desk = pages.context.desk
        self._secrets = os.path.join(pages.context.data_dir, "secrets")

    async def get(self, request: Request) -> Response:
        """GET /smtp."""
        return await self._show(request)

    async def ok(self, request: Request) -> Response:
        """OK, or Reset of one setting."""
        form = await read_form(request)
        before = len(self._desk.changes())
        try:
            self._take(form, session_of(request).name)
            if reset := text_of(form, "reset"):
                self._desk.reset([reset], session_of(request).name)
        except DraftError as error:
            return await self._refuse(request, form, error)
        is_same = len(self._desk.changes()) == before == 0
        words = "Nothing was changed." if is_same else "OK. Save Settings makes it hold."
        return go_to(request, PATH, words, "note" if is_same else "done")

    async def fill(self, request: Request) -> Response:
        """What is known of a provider goes into the draft."""
        form = await read_form(request)
        provider = providers.find(text_of(form, "provider"))
        if provider is None:
            return go_to(request, PATH, "Choose your provider from the list first.", "failed")
        by = session_of(request).name
        try:
            self._take({**form, "smtp.host": "", "smtp.port": "25"}, by)
            self._desk.change(provider.values, by)
        except DraftError as error:
            return await self._refuse(request, form, error)
        words = f"Filled in for {provider.name}. {provider.hint} Then: Test connection."
        return go_to(request, f"{PATH}#upstream", words, "note")

    async def test(self, request: Request) -> Response:
        """[Test connection]: with what is in the form, which goes into the draft and is not saved."""
        return await self._test(request, is_mx=False)

    async def test_domain(self, request: Request) -> Response:
        """[Test MX]: the mail hosts of a domain."""
        return await self._test(request, is_mx=True)

    async def _test(self, request: Request, *, is_mx: bool) -> Response:
        form = await read_form(request)
        try:
            self._take(form, session_of(request).name)
        except DraftError as error:
            return await self._refuse(request, form, error)
        sender, domain = text_of(form, "sender") or _sender(self._desk.settings()), text_of(form, "domain")
        if fault := _fault(sender, domain if is_mx else "example.org"):
            session_of(request).say(fault, "failed")
            return await self._show(request, UNPROCESSABLE, typed=form)
        upstream = await self._upstream(sender)
        steps = await self._run(upstream, domain if is_mx else "")
        return await self._pages.show(
            request,
            "smtp_test.html",
            title="Test connection",
            what=f"the mail hosts of {domain}" if is_mx else f"{upstream.host}:{upstream.port}",
            steps=steps,
            is_fine=is_fine(steps),
            again=f"{PATH}/{'test-domain' if is_mx else 'test'}",
            typed={"sender": sender, "domain": domain},
        )

    # The draft.

    def _take(self, form: FormData | Mapping[str, Any], by: str) -> None:
        """What a form has, into the draft; DraftError."""
        settings = self._desk.settings()
        is_ours, is_removed = self._is_ours(settings[PASSWORD_FILE]), bool(form.get("remove-password"))
        if is_removed and is_ours:
            self._desk.keep_secret(PASSWORD_FILE, "", by)  # first: without a user name there is none either
        self._desk.change(read_fields(form, settings, KEYS), by)
        password = form.get("password")
        if isinstance(password, str) and password and not is_removed and is_ours:
            self._desk.keep_secret(PASSWORD_FILE, password[:_PASSWORD_OCTETS_MAX], by)

    def _is_ours(self, view: SettingView) -> bool:
        """Whether the password is one that was typed here, or none; else the file names one of its own."""
        value = view.value
        return not value or os.path.dirname(value) == self._secrets

    # What is shown.

    async def _refuse(self, request: Request, form: FormData, error: DraftError) -> Response:
        given = read_fields(form, self._desk.settings(), KEYS)
        return await self._show(request, UNPROCESSABLE, error, typed=form, given=given)

    async def _show(
        self,
        request: Request,
        status: int = 200,
        error: DraftError | None = None,
        *,
        typed: Mapping[str, Any] | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> Response:
        settings = self._desk.settings()
        problems = error.problems if error else ()
        fields = {field.key: field for field in fields_of(settings, KEYS, problems, given)}
        shown = {key: field.value for key, field in fields.items()}
        host = shown["smtp.host"]
        provider = providers.of_host(host)
        return await self._pages.show(
            request,
            "smtp.html",
            status=status,
            title=TITLE,
            f=fields,
            is_mx=shown["smtp.delivery"] == "mx",
            groups=providers.groups(),
            provider=provider,
            oddity=providers.oddity(
                _number(shown["smtp.port"]), shown["smtp.tls"], host, shown["smtp.username"]
            ),
            password=self._password_words(settings[PASSWORD_FILE]),
            password_field=fields_of(settings, [PASSWORD_FILE], problems)[0],
            is_password_ours=self._is_ours(settings[PASSWORD_FILE]),
            has_password=bool(settings[PASSWORD_FILE].value),
            elsewhere=[p for p in problems if p.key not in (*KEYS, PASSWORD_FILE)],
            sender=_sender(settings),
            typed={name: text_of(typed or {}, name) for name in _TYPED},
        )

    def _password_words(self, view: SettingView) -> str:
        if view.value and not self._is_ours(view):
            return (
                f"A password is set: cmail.toml names the file {view.value} for it, and there it is changed."
            )
        if view.value:
            return (
                "A password is set." if not view.is_changed else "A new password is set; it is not saved yet."
            )
        if view.is_changed:
            return "The password is removed; that is not saved yet."
        if self._pages.context.smtp_password():
            return "A password is set, by $CMAIL_SMTP_PASSWORD. One that is typed here is used instead."
        return "None is set."

    # The test.

    async def _upstream(self, sender: str) -> Upstream:
        settings, context = self._desk.settings(), self._pages.context
        host = str(settings["smtp.host"].value)
        provider = providers.of_host(host)
        return Upstream(
            str(settings["host.hostname"].value),
            sender,
            host,
            int(settings["smtp.port"].value),
            settings["smtp.tls"].value,
            str(settings["smtp.username"].value),
            await asyncio.to_thread(self._password, settings[PASSWORD_FILE]),
            context.ca_file(),
            provider.hint if provider else "",
        )

    def _password(self, view: SettingView) -> str:
        """With the draft. What the file names only the running server could read, perhaps."""
        if view.value and os.path.dirname(view.value) == self._secrets:
            try:
                with open(view.value, encoding="utf-8") as file:
                    return file.read(_PASSWORD_OCTETS_MAX).removesuffix("\n")
            except (OSError, ValueError):
                return ""
        return self._pages.context.smtp_password() if view.value == view.saved else ""

    async def _run(self, upstream: Upstream, domain: str) -> Sequence[Step]:
        settings, context = self._desk.settings(), self._pages.context
        resolver = DnsClient(DnsSettings(tuple(settings["dns.servers"].value)))
        is_offline = (await context.overviews.get()).is_online is False
        if not domain:
            return await test_upstream(upstream, resolver, is_offline=is_offline)
        port = int(settings["smtp.advanced.outbound_port"].value)
        tls: Tls = "none" if upstream.tls == "none" else "opportunistic"
        way = Upstream(upstream.hostname, upstream.sender, port=port, tls=tls, ca_file=upstream.ca_file)
        return await test_mx(domain, way, resolver, is_offline=is_offline)


def _sender(settings: Mapping[str, SettingView]) -> str:
    """Who is asked for in a test, unless somebody else is typed."""
    username = str(settings["smtp.username"].value)
    if "@" in username:
        return username
    domains = settings["host.domains"].value
    return f"postmaster@{domains[0] if domains else settings['host.hostname'].value}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _fault(sender: str, domain: str) -> str:
    """What is wrong with what is to be tried."""
    try:
        parse_address(sender.encode())
    except (AddressSyntaxError, UnicodeEncodeError):
        return f"{sender} is no address to send from."
    try:
        parse_domain(domain)
    except (AddressSyntaxError, UnicodeEncodeError):
        return f"{domain} is no domain to look for." if domain else "Type the domain to look for."
    return ""


def routes(pages: Pages) -> list[Route]:
    """/smtp, and what its buttons do."""
    page = SmtpPage(pages)
    return [
        Route(PATH, page.get, methods=["GET"]),
        Route(PATH, page.ok, methods=["POST"]),
        Route(f"{PATH}/fill", page.fill, methods=["POST"]),
        Route(f"{PATH}/test", page.test, methods=["POST"]),
        Route(f"{PATH}/test-domain", page.test_domain, methods=["POST"]),
    ]
