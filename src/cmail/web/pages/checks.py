"""Checks: DNS, certificate, way out, clock, disk: what is, what should be, the record to copy."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.admin.checks.board import CheckBoard, Row
from cmail.admin.checks.finding import State
from cmail.web.page import Pages, go_to, read_form, text_of

FRESH_S: Final = 3600.0  # what is older is checked anew when somebody looks
ALL: Final = "all"

# The class of a state in the style sheet, beside its word.
CLASSES: Final = {
    State.GOOD: "is-good",
    State.LOOK: "is-look",
    State.WRONG: "is-wrong",
    State.UNKNOWN: "is-unknown",
}


@dataclass(slots=True)
class Part:
    """Rows under a heading."""

    heading: str
    rows: list[Row] = field(default_factory=list)


def routes(pages: Pages) -> list[Route]:
    """/checks, and what its buttons do."""
    board = pages.context.checks

    async def show(request: Request) -> Response:
        board.refresh(FRESH_S)
        return await pages.show(request, "checks.html", title="Checks", **shown(board))

    async def live(request: Request) -> Response:
        return await pages.show_part(request, "checks_rows.html", **shown(board))

    async def run(request: Request) -> Response:
        name = text_of(await read_form(request), "name")
        count = board.start([row.check.name for row in board.rows() if name in (ALL, row.check.name)])
        if request.headers.get("hx-request") and count:
            return await live(request)
        if not count:
            return go_to(request, "/checks", "There is no such check any more.", "failed")
        return go_to(request, "/checks")

    return [
        Route("/checks", show, methods=["GET"]),
        Route("/checks/run", run, methods=["POST"]),
        Route("/live/checks", live, methods=["GET"]),
    ]


def shown(board: CheckBoard) -> dict[str, Any]:
    """What the templates need."""
    rows = board.rows()
    parts: dict[str, Part] = {}
    for row in rows:
        heading = row.check.domain or "This server"
        parts.setdefault(heading, Part(heading)).rows.append(row)
    counts = Counter(row.state for row in rows)
    return {
        "parts": list(parts.values()),
        "counts": {state: counts[state] for state in State if counts[state]},
        "classes": CLASSES,
        "rows_count": len(rows),
        "running_count": sum(row.is_running for row in rows),
        "unchecked_count": counts[None],
    }
