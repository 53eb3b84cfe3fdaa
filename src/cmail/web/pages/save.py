"""Save Settings: what was changed, old and new; what is wrong with it; versions of before."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.web.desk import DraftError
from cmail.web.labels import label
from cmail.web.page import Pages, go_to, read_form, session_of, text_of
from cmail.web.pages.dialog import UNPROCESSABLE


def routes(pages: Pages) -> list[Route]:
    """/save, and what its buttons do."""
    desk = pages.context.desk

    async def show(request: Request, status: int = 200, error: DraftError | None = None) -> Response:
        return await pages.show(
            request,
            "save.html",
            status=status,
            title="Save Settings",
            changes=desk.changes(),
            problems=error.problems if error else desk.problems(),
            conflicts=error.conflicts if error and error.conflicts else desk.conflicts(),
            versions=desk.versions(),
            label=label,
            tables=[key for key, view in desk.settings().items() if view.kind == "tables"],
        )

    async def get(request: Request) -> Response:
        return await show(request)

    async def save(request: Request) -> Response:
        form = await read_form(request)
        if not desk.changes():  # somebody else has saved or discarded them
            return go_to(request, "/save", "There was nothing to be saved (any more).", "note")
        keep = {key.removeprefix("keep-"): text_of(form, key) for key in form if key.startswith("keep-")}
        try:
            said = await desk.save(session_of(request).name, keep)
        except DraftError as error:
            return await show(request, UNPROCESSABLE, error)
        return _saved(request, said)

    async def discard(request: Request) -> Response:
        desk.discard()
        return go_to(request, "/save", "The changes are gone; the file is as it was.", "note")

    async def bring_back(request: Request) -> Response:
        number = text_of(await read_form(request), "number")
        try:
            said = await desk.bring_back(int(number), session_of(request).name)
        except (KeyError, ValueError):
            return go_to(request, "/save", "There is no such version any more.", "failed")
        except DraftError as error:
            return await show(request, UNPROCESSABLE, error)
        return _saved(request, said)

    def _saved(request: Request, said: object) -> Response:
        pages.context.overviews.forget()
        assert isinstance(said, list)
        for words in said:
            session_of(request).say(words, "note")
        return go_to(request, "/save", "Saved. The server goes on with the new settings; nobody was cut off.")

    return [
        Route("/save", get, methods=["GET"]),
        Route("/save", save, methods=["POST"]),
        Route("/save/discard", discard, methods=["POST"]),
        Route("/save/bring-back", bring_back, methods=["POST"]),
    ]
