"""What of the link, collection, kicks and sites a person should see to: for the page and `cmail status`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from cmail.admin import links
from cmail.admin.latest import Latest
from cmail.admin.link_words import size
from cmail.admin.overview import Attention, Overview
from cmail.admin.processes import Processes
from cmail.admin.rows import duration
from cmail.admin.sites import is_full
from cmail.net.control import ControlError

Fields = Mapping[str, Any]

AWAY_LONG_MS: Final = 3_600_000  # so long a server may be away before somebody should look
HELD_FRESH_S: Final = 30.0
WORDS_MAX: Final = 300  # of what others said


def of_link(link: Fields, now_ms: int) -> list[Attention]:
    """From the answer to link.status."""
    return [*_of_collection(link, now_ms), *_of_kick(link), *_of_budgets(link)]


def _of_collection(link: Fields, now_ms: int) -> Iterator[Attention]:
    for trouble in link.get("collect_troubles") or ():
        name, said = trouble["name"], _short(trouble["words"])
        since_ms = now_ms - int(trouble["since_ms"])
        if trouble["fault"] == "log-in":
            words = f"No mail is collected from {name}: {said}."
            advice = (
                "Put the right user name and password into the settings, then press Collect now"
                " (cmail collect now). It is not tried often by itself, so that nobody locks the account."
            )
            yield Attention(words, advice, "/link#elsewhere-title")
        elif since_ms >= AWAY_LONG_MS:
            words = f"No mail could be collected from {name} for {duration(since_ms)}: {said}."
            advice = (
                "It is tried again by itself, and nothing is lost. If it stays so, look at its settings,"
                " and ask the provider."
            )
            yield Attention(words, advice, "/link#elsewhere-title")


def _of_kick(link: Fields) -> Iterator[Attention]:
    kick = link.get("kick") or {}
    if kick.get("ending") != "unanswered" or link.get("is_kicking") or link.get("is_down"):
        return
    said = next((step["said"] for step in reversed(kick.get("steps") or ()) if step.get("said")), "")
    last = f" The last answer was: {_short(said)}." if said else ""
    yield Attention(
        f"The servers that keep mail for us were kicked, and no mail has come.{last}",
        "Nothing waits there, perhaps; else see what each step was answered, and ask the provider how it"
        " wants to be kicked.",
        "/link#kick-title",
    )


def _of_budgets(link: Fields) -> Iterator[Attention]:
    for each in link.get("links") or ():
        if each.get("is_used_up"):
            used = f"has used the {size(each['budget'])} of today"
            words = f"The link {each['name']} {used}: it rests until midnight."
            advice = "What would go by it waits, and does not get older. A larger budget can be set for it."
            yield Attention(words, advice, "/link#links-title")
        elif each.get("is_window_used_up"):
            kind = each.get("counted_by", "window")
            used = f"has used the {size(each['window_budget'])} of this {kind}"
            words = f"The link {each['name']} {used}: it rests until the next."
            advice = "What would go by it waits, and does not get older. A larger one can be set for it."
            yield Attention(words, advice, "/link#links-title")


def of_held(count: int) -> list[Attention]:
    """Of messages that no link can carry."""
    if not count:
        return []
    messages = "1 recipient's mail is" if count == 1 else f"The mail for {count} recipients is"
    words = f"{messages} on hold: larger than what any link could ever carry."
    advice = (
        "Release lets it be tried all the same; or return it to its sender, who can send it in parts."
        " (cmail queue list --reason 'cannot fit')"
    )
    return [Attention(words, advice, "/queue?state=held")]


def of_sites(rows: Sequence[Fields]) -> list[Attention]:
    """From site.list, added up."""
    return [_of_site(row) for row in rows if is_full(row)]


def _of_site(row: Fields) -> Attention:
    count = row["messages"]
    waits = f"{count} message{'s' * (count != 1)}, {size(row['octets'])}"
    words = f"As much waits for the site {row['name']} as may ({waits}):"
    words += " more mail for it is refused for now, and its senders try again."
    return Attention(
        words,
        "When will it come for its mail? If this is expected, its limit can be larger.",
        "/link#sites-title",
    )


class LinkFinder:
    """An overview.Finder. Workers are asked for what is held and for sites where there can be any."""

    def __init__(self, processes: Processes, has_sites: Callable[[], bool]) -> None:
        self._has_sites = has_sites
        self._sites = Latest(lambda: links.sites(processes))
        self._held = Latest(lambda: processes.count(links.HELD_FILTER))
        self._held_count = 0
        self._held_of = (-1, 0.0)  # how many were held in all when it was counted, and when

    async def __call__(self, overview: Overview) -> Sequence[Attention]:
        """See overview.Finder."""
        found = of_link(overview.link or {}, overview.asked_wall_ms)
        try:
            found += of_held(await self._count_held(overview))
            if self._has_sites():
                found += of_sites((await self._sites.get()).value or ())
        except ControlError:
            return found  # who does not answer is named by others
        return found

    async def _count_held(self, overview: Overview) -> int:
        """A million held recipients are not counted each second, and no page waits for that."""
        held = int(overview.queue["recipients"].get("held", 0)) if overview.queue else 0
        count, at = self._held_of
        now = time.monotonic()
        if not held:
            return 0
        if held != count or now - at > HELD_FRESH_S:
            counted = await self._held.get()
            self._held_count = counted.value or 0
            if counted.is_new:
                self._held_of = held, now
        return self._held_count


def _short(words: object) -> str:
    text = str(words).rstrip(".")
    return text if len(text) <= WORDS_MAX else f"{text[: WORDS_MAX - 1]}…"
