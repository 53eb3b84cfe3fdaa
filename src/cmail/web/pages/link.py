"""The Link: each way to the Internet, the plan of exchanges, kicks, mailboxes elsewhere, sites, the past."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.admin import links
from cmail.admin.latest import Latest
from cmail.admin.link_words import down_words, up_words
from cmail.admin.mailboxes_elsewhere import left_words, state_words, there_words, where_words
from cmail.admin.overview import Overview
from cmail.admin.rows import Row
from cmail.net.control import ControlError
from cmail.web.filters import short
from cmail.web.link_view import Plan, exchange_of, kick_of, links_of, plan_of
from cmail.web.page import Pages, go_to, read_form, text_of

PATH: Final = "/link"
HELD_ROWS: Final = 5
LEFT_ROWS: Final = 20
RECENT: Final = 10  # exchanges; older ones are one click away
_COUNTING: Final = "it is being counted"
_BACK: Final = ("/", PATH)  # where the buttons are
_SAID: Final = {
    "up": "On line: everything that waits for the line starts now.",
    "down": "Off line: mail for the Internet waits, and does not get older.",
}


def routes(pages: Pages) -> list[Route]:
    """/link, its parts for who watches, and what its buttons do."""
    context = pages.context
    processes = context.processes

    async def count() -> tuple[Plan, list[Row]]:
        """What goes, and what never can."""
        told, held = await asyncio.gather(links.plan(processes), links.held(processes, HELD_ROWS + 1))
        return plan_of(told), held

    plans = Latest(count)
    others = Latest(lambda: links.elsewhere(processes))
    pasts = Latest(lambda: links.history(processes))

    async def now(overview: Overview) -> dict[str, Any]:
        """The line, its links, the exchange."""
        kick = kick_of(overview.link)
        return {
            "links": links_of(overview.link),
            "exchange": exchange_of(overview.link),
            "kick": kick,
            "has_elsewhere": bool(kick.steps or (overview.link or {}).get("collects")),
        }

    async def coming(_: Overview) -> dict[str, Any]:
        """What goes in the next exchange, and what never can."""
        values: dict[str, Any] = {"plan": None, "plan_trouble": "", "held": [], "held_max": HELD_ROWS}
        try:
            found = await plans.get()
        except ControlError as error:
            return {**values, "plan_trouble": error.words, "plan_ms": 0}
        if found.value is not None:
            values["plan"], values["held"] = found.value
        return {**values, "plan_ms": 0 if found.is_new else found.at_ms}

    async def elsewhere(overview: Overview) -> dict[str, Any]:
        """Kicks, mailboxes elsewhere, sites."""
        found = (await others.get()).value or links.Elsewhere(silent=[_COUNTING])
        accounts = [
            {
                **each,
                "where": where_words(each),
                "now": state_words(each),
                "there": there_words(each),
                "words": short(each["words"]),
            }
            for each in found.accounts
        ]
        left = [{**each, "words": short(left_words(each))} for each in found.left[:LEFT_ROWS]]
        return {"kick": kick_of(overview.link), "elsewhere": found, "accounts": accounts, "left": left}

    async def past(_: Overview) -> dict[str, Any]:
        """The last exchanges."""
        try:
            found, trouble = (await pasts.get()).value, ""
        except ControlError as error:
            found, trouble = None, error.words
        if found is None:
            words = trouble or _COUNTING
            return {"entries": [], "history_trouble": words, "has_cost": False, "recent_max": RECENT}
        entries = list(found)
        for entry in entries:
            entry["how"] = [short(words) for words in (*entry["kicks"], *entry["collections"])]
        has_cost = any(entry["cost"] for entry in entries)
        return {"entries": entries, "history_trouble": "", "has_cost": has_cost, "recent_max": RECENT}

    async def index(request: Request) -> Response:
        overview = await context.overviews.get()
        parts = await asyncio.gather(now(overview), coming(overview), elsewhere(overview), past(overview))
        values = {name: value for part in parts for name, value in part.items()}
        return await pages.show(request, "link.html", title="The Link", **values)

    def live(template: str, part: Callable[[Overview], Awaitable[dict[str, Any]]]) -> Any:
        async def show(request: Request) -> Response:
            values = await part(await context.overviews.get())
            return await pages.show_part(request, template, **values)

        return show

    async def does(request: Request, act: Callable[[FormData], Awaitable[str]]) -> Response:
        """What a button does; the words of it, or of what was in the way."""
        form = await read_form(request)
        wanted = text_of(form, "back")
        back = wanted if wanted in _BACK else PATH
        try:
            words = await act(form)
        except ControlError as error:
            return go_to(request, back, f"That did not work: {error.words}.", "failed")
        context.overviews.forget()
        return go_to(request, back, words)

    async def say(form: FormData) -> str:
        to, name = text_of(form, "to"), text_of(form, "name")
        if to not in _SAID:
            raise ControlError("that cannot be done here", 64)
        told = await links.say(processes, to, name)
        if name or (to == "down") is not bool(told.get("is_down")):
            return up_words(told, name) if to == "up" else down_words(told, name)
        return _SAID[to]

    async def exchange(_: FormData) -> str:
        told = await links.exchange(processes)
        if told.get("is_new"):
            return "An exchange begins: what waits goes, what waits elsewhere for us is kicked and collected."
        return "An exchange goes on already: what waits is tried, kicked and collected once more."

    async def kick(_: FormData) -> str:
        await links.kick(processes)
        return "The kick begins. What each step is answered stands below; only mail that comes proves it."

    async def collect(form: FormData) -> str:
        name = text_of(form, "name")
        told = await links.collect(processes, [name] if name else [])
        return _begun(bool(told.get("is_kicked")), [str(each) for each in told.get("collects") or ()])

    async def fetch(form: FormData) -> str:
        number = text_of(form, "id")
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise ControlError("that is no number of a message", 64)
        words = await links.fetch(processes, text_of(form, "name"), int(number))
        return f"{words[:1].upper()}{words[1:]}."

    def button(act: Callable[[FormData], Awaitable[str]]) -> Any:
        async def press(request: Request) -> Response:
            return await does(request, act)

        return press

    return [
        Route(PATH, index, methods=["GET"]),
        Route(PATH, button(say), methods=["POST"]),
        Route(f"{PATH}/exchange", button(exchange), methods=["POST"]),
        Route(f"{PATH}/kick", button(kick), methods=["POST"]),
        Route(f"{PATH}/collect", button(collect), methods=["POST"]),
        Route(f"{PATH}/fetch", button(fetch), methods=["POST"]),
        Route("/live/link", live("link_now.html", now), methods=["GET"]),
        Route("/live/link/plan", live("link_plan.html", coming), methods=["GET"]),
        Route("/live/link/elsewhere", live("link_elsewhere.html", elsewhere), methods=["GET"]),
        Route("/live/link/history", live("link_history.html", past), methods=["GET"]),
    ]


def _begun(is_kicked: bool, names: list[str]) -> str:
    """What Collect now has begun."""
    some = ", ".join(names) if len(names) <= 3 else f"{len(names)} mailboxes"
    if is_kicked and names:
        return f"The kick begins, and mail is collected from {some}, both at once."
    return (
        f"Mail is collected from {some}." if names else "The kick begins; no mailbox is to be collected from."
    )
