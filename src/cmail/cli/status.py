"""`cmail status`: what runs, what listens, what waits, how mail leaves."""

import json
import os
import time
from typing import Any, Final

import click

from cmail.admin.asking import Server
from cmail.admin.link_attention import of_held, of_link, of_sites
from cmail.admin.link_words import describe
from cmail.admin.links import HELD_FILTER
from cmail.admin.overview import Attention
from cmail.admin.queue_access import sum_figures
from cmail.admin.rows import duration
from cmail.admin.sites import add_up
from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit
from cmail.cli.listing import printable
from cmail.cli.nobodies import nobodies_of
from cmail.cli.place import Place, find_place
from cmail.net.control_client import ControlError, NotRunningError

Told = dict[str, Any]
_COLUMN: Final = 11


@click.command(cls=Command)
@click.option("--json", "is_json", is_flag=True, help="As one object.")
def command(is_json: bool) -> int:
    """What runs, what listens, what waits. Ends with 69 when the server is not running."""
    place = find_place(config_option())
    told = _ask(place)
    if is_json:
        click.echo(json.dumps(told))
    else:
        for line in _lines(told):
            click.echo(line)
    return Exit.OK if told["running"] else Exit.UNAVAILABLE


def _ask(place: Place) -> Told:
    """Everything that the processes say; who does not answer is named."""
    server = Server(place.data_dir)
    delivery = _delivery(place)
    try:
        told = server.ask("supervisor", "status")
    except NotRunningError:
        away = not os.path.isdir(place.data_dir)
        words = {"troubles": [{"process": "", "words": _away(place)}]} if away else {}
        where = {"config": place.config, "data_dir": place.data_dir, "delivery": delivery}
        return {"running": False, **where, **words}
    silent: list[str] = []
    told |= {"running": True, "delivery": delivery}
    try:
        told["link"] = server.ask("link", "link.status")
    except ControlError:
        silent.append("link")
    try:
        workers = [answer.ok for answer in server.ask_workers("status", 10.0)]
        told["sessions"] = sum(worker.get("sessions", 0) for worker in workers)
        told["troubles"] = _troubles(workers)
        told["queue"] = sum_figures(answer.ok for answer in server.ask_workers("queue.figures", 10.0))
    except ControlError as error:
        silent.append(f"workers ({error.words})")
    told["attention"] = [
        {"words": each.words, "advice": each.advice} for each in _attention(server, place, told)
    ]
    told["silent"] = [*silent, *dict.fromkeys(server.silent)]
    return told


def _attention(server: Server, place: Place, told: Told) -> list[Attention]:
    """What of the link, collection, kicks and sites somebody should see to."""
    found = of_link(told.get("link") or {}, time.time_ns() // 1_000_000)
    if nobodies := nobodies_of(place):
        from cmail.admin.nobody_attention import of_nobodies

        found += of_nobodies(nobodies)
    try:
        if (told.get("queue") or {}).get("recipients", {}).get("held"):
            counts = server.ask_workers("queue.count", 10.0, filter=HELD_FILTER)
            found += of_held(sum(int(answer.ok.get("recipients", 0)) for answer in counts))
        if place.tables.get("site"):
            answers = server.ask_workers("site.list", 10.0)
            found += of_sites(add_up([row for answer in answers for row in answer.rows]))
    except ControlError:
        return found  # who does not answer is named already
    return found


def _troubles(workers: list[Told]) -> list[Told]:
    """What is wrong now, with the worker that says so."""
    return [
        {"process": f"worker-{worker.get('number')}", "words": words}
        for worker in workers
        for words in worker.get("troubles", ())
    ]


def _delivery(place: Place) -> Told:
    """The way out, as the file says it."""
    smtp = place.tables.get("smtp", {})
    return {
        "delivery": smtp.get("delivery", "smarthost"),
        "host": smtp.get("host", ""),
        "port": smtp.get("port", 25),
    }


def _away(place: Place) -> str:
    return (
        f"{place.data_dir} is not there: was it moved, or its disk unmounted? Whether the server runs"
        " cannot be asked"
    )


def _lines(told: Told) -> list[str]:
    if not told["running"]:
        lines = [_line("server", f"not running (settings {told['config']}, data {told['data_dir']})")]
        return lines + [_line("trouble", each["words"]) for each in told.get("troubles", ())]
    age = duration(time.time_ns() // 1_000_000 - told.get("started_ms", 0))
    lines = [_line("server", f"running for {age}, process {told['pid']}, version {told['version']}")]
    lines.append(_line("settings", f"{told['config']} (data {told['data_dir']})"))
    lines += [_line("listens", f"{port['kind']} on {port['address']}") for port in told["listeners"]]
    for child in told.get("children", ()):
        if child["state"] != "running" or child["restarts"]:
            text = f"{child['name']} is {child['state']}, started again {child['restarts']} times"
            lines.append(_line("process", text))
    lines += [_line("link", text.removeprefix("link: ")) for text in describe(told.get("link", {}))[:1]]
    lines += [_line("queue", text) for text in _queue(told.get("queue", {}))]
    lines.append(_line("delivery", _way(told["delivery"])))
    lines += [_line("trouble", f"{one['process']}: {one['words']}") for one in told.get("troubles", ())]
    lines += [
        _line("attention", printable(f"{one['words']} {one['advice']}")) for one in told.get("attention", ())
    ]
    lines += [_line("silent", f"{name} did not answer") for name in told["silent"]]
    return lines


def _queue(figures: Told) -> list[str]:
    if not figures:
        return []
    counts = ", ".join(f"{count} {state}" for state, count in sorted(figures["recipients"].items()) if count)
    if not counts:
        return ["empty"]
    age_ms = time.time_ns() // 1_000_000 - figures["oldest_ms"]
    oldest = f", the oldest {duration(age_ms)} old" if figures["oldest_ms"] else ""  # 0: all is for later
    return [f"{counts} (recipients), {figures['messages']} messages{oldest}"]


def _way(delivery: Told) -> str:
    if delivery["delivery"] == "mx":
        return "straight to the mail server of each recipient's domain (mx)"
    if not delivery["host"]:
        return "mail for the Internet waits: no upstream server is named (smtp.host)"
    return f"through {delivery['host']}:{delivery['port']}"


def _line(name: str, text: str) -> str:
    return f"{name:<{_COLUMN}}{text}"
