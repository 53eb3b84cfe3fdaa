"""Dialogs: groups of settings with OK, which changes the draft; Save Settings writes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.web.desk import DraftError
from cmail.web.forms import fields_of, read_fields
from cmail.web.page import Pages, go_to, read_form, session_of, text_of

UNPROCESSABLE: Final = 422


@dataclass(frozen=True, slots=True)
class Group:
    """Settings under a heading."""

    heading: str
    words: str
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Dialog:
    """A page of settings."""

    path: str
    title: str
    words: str
    groups: Sequence[Group]
    template: str = "dialog.html"

    @property
    def keys(self) -> list[str]:
        """All settings on it."""
        return [key for group in self.groups for key in group.keys]


def dialog_routes(pages: Pages, dialog: Dialog) -> list[Route]:
    """GET shows it; POST is OK, or Reset of one setting."""
    desk = pages.context.desk

    async def show(
        request: Request, status: int = 200, error: DraftError | None = None, **given: object
    ) -> Response:
        settings = desk.settings()
        problems = error.problems if error else ()
        groups = [(group, fields_of(settings, group.keys, problems, given)) for group in dialog.groups]
        elsewhere = [p for p in problems if p.key not in dialog.keys]
        return await pages.show(
            request,
            dialog.template,
            status=status,
            title=dialog.title,
            dialog=dialog,
            groups=groups,
            elsewhere=elsewhere,
        )

    async def get(request: Request) -> Response:
        return await show(request)

    async def post(request: Request) -> Response:
        form = await read_form(request)
        values = read_fields(form, desk.settings(), dialog.keys)
        by = session_of(request).name
        before = len(desk.changes())
        try:
            desk.change(values, by)
            if reset := text_of(form, "reset"):
                desk.reset([reset], by)
        except DraftError as error:
            return await show(request, UNPROCESSABLE, error, **values)
        count = len(desk.changes())
        words = "Nothing was changed." if count == before == 0 else "OK. Save Settings makes it hold."
        return go_to(request, dialog.path, words, "note" if count == before == 0 else "done")

    return [
        Route(dialog.path, get, methods=["GET"]),
        Route(dialog.path, post, methods=["POST"]),
    ]
