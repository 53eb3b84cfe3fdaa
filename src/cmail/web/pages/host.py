"""Host Configuration: names, where mail comes in, who may relay, people here, forwarding, the certificate."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.web.desk import DraftError
from cmail.web.forms import Choice, Field, error_of, fields_of, read_fields
from cmail.web.page import Pages, go_to, read_form, session_of, text_of
from cmail.web.pages.dialog import UNPROCESSABLE
from cmail.web.pages.host_certificate import certificate_view
from cmail.web.pages.host_forwards import Forwards, ForwardTrouble

PATH: Final = "/host"
KEYS: Final = (
    "host.hostname",
    "host.domains",
    "relay.networks",
    "local.delivery",
    "local.lmtp",
    "local.separator",
)
LISTENERS_MAX: Final = 100
# What one of them is for, in the order of the drop-down.
KINDS: Final = (
    Choice("smtp", "smtp: mail from other servers (usually port 25)"),
    Choice("submission", "submission: mail programs of people here, with STARTTLS (587)"),
    Choice("submissions", "submissions: the same, TLS from the first byte (465)"),
    Choice("lmtp", "lmtp: programs on this machine"),
    Choice("odmr", "odmr: sites that log in and take their mail (366)"),
    Choice("finger", "finger: sites that ask for their mail without a log-in (79)"),
)
_KNOWN: Final = frozenset(choice.value for choice in KINDS)
Row = Mapping[str, Any]


class HostPage:
    """The handlers, and what they share."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._desk = pages.context.desk
        self._forwards = Forwards(pages.context)

    async def get(self, request: Request) -> Response:
        """GET /host."""
        return await self._show(request)

    async def ok(self, request: Request) -> Response:
        """OK, or Reset of one setting."""
        form = await read_form(request)
        by, settings = session_of(request).name, self._desk.settings()
        values = read_fields(form, settings, KEYS)
        if form.get("listeners"):
            values["listener"] = _read_listeners(form, settings["listener"].value)
        before = len(self._desk.changes())
        try:
            self._desk.change(values, by)
            if reset := text_of(form, "reset"):
                self._desk.reset([reset], by)
        except DraftError as error:
            return await self._show(request, UNPROCESSABLE, error, given=values)
        is_same = len(self._desk.changes()) == before == 0
        words = "Nothing was changed." if is_same else "OK. Save Settings makes it hold."
        return go_to(request, PATH, words, "note" if is_same else "done")

    async def forward(self, request: Request) -> Response:
        """A domain leads to a user, an address or a host."""
        form = await read_form(request)
        typed = {name: text_of(form, name) for name in ("domain", "way", "target", "tls")}
        try:
            said = await self._forwards.add(**typed, by=session_of(request).name)
        except ForwardTrouble as trouble:
            return await self._show(request, UNPROCESSABLE, forward=typed, forward_error=trouble)
        for words in said[1:]:
            session_of(request).say(words, "note")
        return go_to(request, f"{PATH}#forwarding", said[0])

    async def stop_forwarding(self, request: Request) -> Response:
        """It does not any more."""
        form = await read_form(request)
        try:
            words = await self._forwards.remove(
                text_of(form, "domain"), text_of(form, "way"), session_of(request).name
            )
        except ForwardTrouble as trouble:
            return await self._show(request, UNPROCESSABLE, forward_error=trouble)
        return go_to(request, f"{PATH}#forwarding", words)

    async def _show(
        self,
        request: Request,
        status: int = 200,
        error: DraftError | None = None,
        *,
        given: Mapping[str, Any] | None = None,
        forward: Mapping[str, str] | None = None,
        forward_error: ForwardTrouble | None = None,
    ) -> Response:
        settings = self._desk.settings()
        problems = error.problems if error else ()
        fields = {field.key: field for field in fields_of(settings, KEYS, problems, given)}
        view, tls = settings["listener"], settings["forward"]
        rows = (given or {}).get("listener", view.value)
        certificate, forwards = await asyncio.gather(
            asyncio.to_thread(self._pages.context.certificate),
            asyncio.to_thread(self._forwards.all, settings),
        )
        known = (*KEYS, "listener")
        return await self._pages.show(
            request,
            "host.html",
            status=status,
            title="Host Configuration",
            f=fields,
            listeners=_listener_rows(rows, problems or (self._desk.problems() if view.is_changed else ())),
            kinds=KINDS,
            is_listener_changed=view.is_changed,
            listener_error=error_of("listener", problems),
            elsewhere=[p for p in problems if not p.key.startswith(known)],
            certificate=certificate_view(certificate, settings),
            forwards=forwards,
            is_forward_changed=tls.is_changed,
            forward={"domain": "", "way": "address", "target": "", "tls": "opportunistic", **(forward or {})},
            forward_error=forward_error,
            domains=[str(each).lower() for each in settings["host.domains"].saved],
            security=_security(settings),
        )


def _security(settings: Mapping[str, Any]) -> Sequence[Choice]:
    """The ways of encryption, as SMTP Configuration words them."""
    found: Field = fields_of(settings, ["smtp.tls"])[0]
    return found.choices


def _read_listeners(form: FormData, before: Sequence[Row]) -> list[Row]:
    """The rows of the table. One at a Unix socket stays as the file has it: it is set there only; a row whose
    address is empty, or that is to be removed, goes."""
    rows: list[Row] = []
    for number in range(LISTENERS_MAX):
        kind = form.get(f"listener-{number}-kind")
        address = text_of(form, f"listener-{number}-address")
        if not isinstance(kind, str) or form.get(f"listener-{number}-remove") or not address:
            continue
        is_kept = kind not in _KNOWN or address.startswith("unix:")
        row = {"kind": kind, "address": address}
        if not is_kept or row in before:
            rows.append(row)
    return rows


def _listener_rows(rows: Sequence[Row], problems: Sequence[Any]) -> list[dict[str, Any]]:
    """For the template; the last is empty, for one more."""
    found = [
        {
            "number": number,
            "kind": row["kind"],
            "address": row["address"],
            "is_fixed": row["kind"] not in _KNOWN or str(row["address"]).startswith("unix:"),
            "error": error_of(f"listener[{number + 1}]", problems),
        }
        for number, row in enumerate(rows)
    ]
    new = {"number": len(rows), "kind": "smtp", "address": "", "is_fixed": False, "error": ""}
    return [*found, new]


def routes(pages: Pages) -> list[Route]:
    """/host, and what its buttons do."""
    page = HostPage(pages)
    return [
        Route(PATH, page.get, methods=["GET"]),
        Route(PATH, page.ok, methods=["POST"]),
        Route(f"{PATH}/forward", page.forward, methods=["POST"]),
        Route(f"{PATH}/forward-stop", page.stop_forwarding, methods=["POST"]),
    ]
