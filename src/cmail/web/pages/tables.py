"""Editors of arrays of tables: a list in plain words, Add, Change, Delete, and the order where it counts.

What is done goes into the draft; Save Settings makes it hold."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.admin.people import without_commands
from cmail.web.desk import DraftError, Problem, SettingView
from cmail.web.forms import sentence
from cmail.web.labels import label
from cmail.web.nobodies import find_nobodies, words_by_name
from cmail.web.page import Pages, go_to, read_form, session_of, text_of
from cmail.web.pages.dialog import UNPROCESSABLE
from cmail.web.pages.table_kinds import COLLECT, KICK, KINDS, PASSWORD, SITE, TableKind
from cmail.web.pages.table_rows import (
    is_of_file,
    mark_of,
    problems_of_row,
    read_row,
    row_fields,
    rows_of,
    sentence_of,
    whole,
)
from cmail.web.pages.table_secrets import RowSecrets
from cmail.web.pages.table_test import MailboxTest
from cmail.web.providers import unverified

_OK: Final = "OK. Save Settings makes it hold."
_SAME: Final = "Nothing was changed."
_OTHERS: Final = "Somebody has changed the list meanwhile. Here is what it is now."
_FIXED: Final = "That one runs a program: it is changed in cmail.toml alone."
_STEPS: Final = {"up": -1, "down": 1}
Row = dict[str, Any]


class _Moved(Exception):
    """What was asked cannot be done with the list as it is now; in words."""


class TablePage:
    """The handlers of one array of tables, and what they share."""

    def __init__(self, pages: Pages, kind: TableKind) -> None:
        self._pages, self._kind = pages, kind
        self._desk = pages.context.desk
        self._secrets = RowSecrets(pages.context.data_dir)
        self._tests = MailboxTest(pages.context, self._secrets)

    # The list.

    async def get(self, request: Request) -> Response:
        """GET /collect."""
        kind, settings = self._kind, self._desk.settings()  # once: each reads the file
        view, smtp_host = settings[kind.key], str(settings["smtp.host"].value)
        saved = {mark_of(row) for row in view.saved} if isinstance(view.saved, list) else set()
        try:
            rows, trouble = rows_of(view), ""
        except TypeError as error:
            rows, trouble = [], str(error)
        nobodies = await self._nobodies(settings)
        shown = [
            {
                "number": number,
                "title": self._title(number, row),
                "words": sentence_of(kind, view, row),
                "mark": mark_of(row),
                "is_fixed": is_of_file(row),
                "warn": _sentences(
                    self._unverified(whole(row, view), smtp_host), nobodies.get(str(row.get("name")), "")
                ),
                "is_new": mark_of(row) not in saved,
            }
            for number, row in enumerate(rows, 1)
        ]
        return await self._pages.show(
            request,
            "table.html",
            title=kind.title,
            kind=kind,
            rows=shown,
            trouble=trouble,
            error=view.error,
            first=self._first_kick() if kind is KICK else "",
        )

    async def _nobodies(self, settings: Mapping[str, SettingView]) -> Mapping[str, str]:
        """By the name of a row: that nobody here has the account which it names."""
        if self._kind not in (COLLECT, SITE):
            return {}
        found = await find_nobodies(self._pages.context, settings, is_saved=False)
        return {name: without_commands(words) for name, words in words_by_name(found, self._kind.key).items()}

    def _unverified(self, row: Mapping[str, Any], smtp_host: str) -> str:
        """Where the password of a row goes."""
        if not {PASSWORD, "username"} <= set(self._kind.columns):
            return ""
        return unverified(str(row["tls"]), str(row["host"] or smtp_host), str(row["username"]))

    def _title(self, number: int, row: Mapping[str, Any]) -> str:
        return (
            f"Step {number}: {row.get('method', '')}" if self._kind.is_ordered else str(row.get("name", ""))
        )

    def _first_kick(self) -> str:
        """The step that SMTP Configuration makes."""
        settings = self._desk.settings()
        if not settings["smtp.kick"].value:
            return ""
        host = settings["smtp.host"].value or "the SMTP Host"
        return f"Before them the SMTP Host is kicked: {host}, port {settings['smtp.trigger_port'].value}."

    # One row.

    async def row(self, request: Request) -> Response:
        """GET /collect/add, /collect/2."""
        try:
            number, row = self._found(request)
        except _Moved as moved:
            return self._away(request, moved)
        return await self._show(request, number, row)

    async def ok(self, request: Request) -> Response:
        """OK of a form of a row."""
        form = await read_form(request)
        try:
            number, before = self._found(request, form)
            count = len(self._desk.changes())
            if refusal := await self._take(request, form, number, before):
                return refusal
        except _Moved as moved:
            return self._away(request, moved)
        is_same = len(self._desk.changes()) == count == 0
        return go_to(request, self._kind.path, _SAME if is_same else _OK, "note" if is_same else "done")

    async def test(self, request: Request) -> Response:
        """[Test]: what is in the form goes into the draft, as with OK, and is tried."""
        form = await read_form(request)
        try:
            number, before = self._found(request, form)
            if refusal := await self._take(request, form, number, before):
                return refusal
            row = self._rows()[number - 1]
        except _Moved as moved:
            return self._away(request, moved)
        return await self._show(request, number, row, tried=await self._tests.run(row))

    async def _take(self, request: Request, form: FormData, number: int, before: Row) -> Response | None:
        """A form into the draft; the form again when something is wrong with it."""
        kind, rows = self._kind, self._rows()
        row = read_row(form, kind, self._view(), before if number <= len(rows) else kind.start)
        rows[number - 1 : number] = [row]
        secrets = {}
        if PASSWORD in kind.columns:
            typed = self._secrets.typed(form, row)
            secrets = {f"{kind.key}[{number}].{PASSWORD}": each for each in typed}
        try:
            self._desk.change({kind.key: rows}, session_of(request).name, secrets)
        except DraftError as error:
            return await self._show(request, number, before, error.problems, row)
        return None

    async def delete(self, request: Request) -> Response:
        """[Delete] in the list."""

        def without(rows: list[Row], place: int) -> None:
            del rows[place]

        return await self._change(request, without)

    async def move(self, request: Request) -> Response:
        """[Up], [Down] in the list: here order counts. What runs a program may be passed."""
        step = _STEPS.get(text_of(await read_form(request), "to"), 0)

        def moved(rows: list[Row], place: int) -> None:
            other = place + step
            if 0 <= other < len(rows):
                rows[place], rows[other] = rows[other], rows[place]

        return await self._change(request, moved)

    async def _change(self, request: Request, change: Callable[[list[Row], int], None]) -> Response:
        form = await read_form(request)
        try:
            number, _ = self._found(request, form)
            rows = self._rows()
            change(rows, number - 1)
            self._desk.change({self._kind.key: rows}, session_of(request).name)
        except _Moved as moved:
            return self._away(request, moved)
        except DraftError as error:
            said = [f"{label(each.key)}: {sentence(each.reason)}" for each in error.problems]
            return go_to(request, self._kind.path, " ".join(said), "failed")
        return go_to(request, self._kind.path, _OK)

    # What the list is.

    def _view(self) -> SettingView:
        return self._desk.settings()[self._kind.key]

    def _rows(self) -> list[Row]:
        try:
            return rows_of(self._view())
        except TypeError as error:
            raise _Moved(str(error)) from None

    def _found(self, request: Request, form: FormData | None = None) -> tuple[int, Row]:
        """Number and row of a request; one behind the last is new. A form is for the row that it shows."""
        rows = self._rows()
        number = request.path_params.get("number", len(rows) + 1)
        if "number" not in request.path_params:
            return number, {}
        if not 0 < number <= len(rows):
            raise _Moved(_OTHERS if form else "There is no such entry (any more).")
        row = rows[number - 1]
        if form is not None and text_of(form, "mark") != mark_of(row):
            raise _Moved(_OTHERS)
        if is_of_file(row) and not request.url.path.endswith(("/move", "/delete")):
            raise _Moved(_FIXED)
        return number, row

    def _away(self, request: Request, moved: _Moved) -> Response:
        return go_to(request, self._kind.path, str(moved), "failed")

    async def _show(
        self,
        request: Request,
        number: int,
        row: Row,
        problems: Sequence[Problem] = (),
        given: Mapping[str, Any] | None = None,
        tried: object = None,
    ) -> Response:
        kind, view = self._kind, self._view()
        is_new = number > len(view.value)
        mine, others = problems_of_row(kind, number, problems)
        shown = {**kind.start, **row} if is_new else row
        return await self._pages.show(
            request,
            "table_row.html",
            status=UNPROCESSABLE if problems else 200,
            title=f"Add {kind.noun}" if is_new else self._title(number, row),
            kind=kind,
            fields=row_fields(kind, view, shown, mine, given),
            place="add" if is_new else str(number),
            mark=mark_of(row),
            elsewhere=others,
            secret=self._secrets.words(row, view.saved),
            tried=tried,
        )


def _sentences(*words: str) -> str:
    return " ".join(each for each in words if each)


def routes(pages: Pages) -> list[Route]:
    """/links, /kicks, /collect, /sites, and what their buttons do."""
    found = []
    for kind in KINDS:
        page = TablePage(pages, kind)
        path, row = kind.path, f"{kind.path}/{{number:int}}"
        found += [
            Route(path, page.get, methods=["GET"]),
            Route(f"{path}/add", page.row, methods=["GET"]),
            Route(f"{path}/add", page.ok, methods=["POST"]),
            Route(row, page.row, methods=["GET"]),
            Route(row, page.ok, methods=["POST"]),
            Route(f"{row}/delete", page.delete, methods=["POST"]),
        ]
        found += [Route(f"{row}/move", page.move, methods=["POST"])] if kind.is_ordered else []
        tested = (f"{path}/add/test", f"{row}/test") if kind.is_tested else ()
        found += [Route(each, page.test, methods=["POST"]) for each in tested]
    return found
