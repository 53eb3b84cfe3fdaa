"""Quarantine: mail that Validation would have refused; what it refused and what it noted, by sender."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.admin.quarantine import NotedSender, counted, look_at, noted_senders, refusals
from cmail.net.control import ControlError
from cmail.observe.metrics import Snapshot
from cmail.policy.validation.rules import Does
from cmail.storage.quarantine import KEPT_FOR, NotThereError, Quarantine, QuarantineError
from cmail.web.page import Pages, go_to

_PATH = "/quarantine"


def routes(pages: Pages) -> list[Route]:
    """/quarantine, one message in it, and what its buttons do."""
    context = pages.context
    quarantine = Quarantine(context.data_dir)

    async def noted() -> list[NotedSender]:
        try:
            heard = await context.processes.ask_workers("validation.noted")
        except ControlError:
            return []
        return noted_senders([row for answer in heard.answers for row in answer.rows])

    async def figures() -> Snapshot:
        try:
            return await context.figures()
        except ControlError:
            return {}

    async def show(request: Request) -> Response:
        kept, damaged = await asyncio.to_thread(lambda: (quarantine.all_kept(), quarantine.damaged()))
        counts = await figures()
        return await pages.show(
            request,
            "quarantine.html",
            title="Quarantine",
            kept=kept,
            damaged=damaged,
            folder=quarantine.folder,
            days=KEPT_FOR.days,
            refusals=refusals,
            refused=counted(counts, Does.REFUSE),
            noted=counted(counts, Does.NOTE),
            senders=await noted(),
            is_on=bool(context.desk.settings()["smtp.validation"].saved),
        )

    async def message(request: Request) -> Response:
        try:
            look = await asyncio.to_thread(look_at, quarantine, request.path_params["id"])
        except NotThereError:
            raise HTTPException(404, "That message is not in quarantine any more.") from None
        except QuarantineError as error:
            raise HTTPException(500, str(error)) from None
        title = f"Quarantine: {look.kept.id}"
        return await pages.show(request, "quarantine_message.html", title=title, look=look, refusals=refusals)

    def doing(work: Callable[[str], Awaitable[tuple[str, str]]]) -> Callable[[Request], Awaitable[Response]]:
        async def post(request: Request) -> Response:
            name = request.path_params["id"]
            try:
                words, path = await work(name)
            except (QuarantineError, ControlError) as error:
                reason = error.words if isinstance(error, ControlError) else str(error)
                return go_to(request, _PATH, f"That did not work: {reason}.", "failed")
            context.overviews.forget()
            return go_to(request, path, words)

        return post

    async def release(name: str) -> tuple[str, str]:
        told = await context.processes.ask("worker-0", "quarantine.release", timeout_s=60.0, id=name)
        count = int(told.ok.get("recipients", 0))
        return f"It is on its way to {count} recipient{'' if count == 1 else 's'}.", _PATH

    async def repair(name: str) -> tuple[str, str]:
        kept = await asyncio.to_thread(quarantine.repair, name)
        left = "" if refusals(kept.defects) else " Nothing is wrong with it any more."
        return f"Repaired; what it was before is kept until it goes.{left}", f"{_PATH}/{kept.id}"

    async def delete(name: str) -> tuple[str, str]:
        await asyncio.to_thread(quarantine.remove, name)
        return "It is deleted.", _PATH

    return [
        Route(_PATH, show, methods=["GET"]),
        Route(f"{_PATH}/{{id}}", message, methods=["GET"]),
        Route(f"{_PATH}/{{id}}/release", doing(release), methods=["POST"]),
        Route(f"{_PATH}/{{id}}/repair", doing(repair), methods=["POST"]),
        Route(f"{_PATH}/{{id}}/delete", doing(delete), methods=["POST"]),
    ]
