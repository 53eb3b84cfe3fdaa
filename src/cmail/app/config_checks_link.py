"""Checks of [link], [[link.via]] and [exchange]: names, devices, times and windows."""

from collections.abc import Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Final

from cmail.link.judging import LINE
from cmail.link.probe import OFF
from cmail.link.settings import ExchangeSettings, LinkSettings, ViaSettings
from cmail.link.windows import Slot, is_endless, parse_slot, parse_slots, parse_window
from cmail.settings import Say, parse_endpoint

VIAS_MAX: Final = 32
SLOTS_MAX: Final = 50
COST_MAX: Final = 1e6
RATE_MAX: Final = 10**9  # kbit/s
_DEVICE_MAX: Final = 15  # octets of a device's name, in Linux
_NAME_MAX: Final = 32
_NONE: Final = timedelta(0)
_SECONDS_5: Final = timedelta(seconds=5)
_MINUTE: Final = timedelta(minutes=1)


def check_links(link: LinkSettings, exchange: ExchangeSettings, is_batch: bool, say: Say) -> None:
    """Everything that can be said without looking at the machine."""
    _check_probe(link, say)
    if len(link.via) > VIAS_MAX:
        say("link.via", f"there may be {VIAS_MAX} at most")
    names: set[str] = set()
    devices: dict[str, int] = {}
    for number, via in enumerate(link.via[:VIAS_MAX], 1):
        key = f"link.via[{number}]"
        _check_name(key, via.name, names, say)
        _check_devices(key, via.device, devices, number, say)
        _check_policy(key, via, say)
        if via.window_budget:
            _check_window_budget(f"{key}.window_budget", via, exchange, is_batch, say)
    _check_exchange(exchange, say)


def link_notes(link: LinkSettings, exchange: ExchangeSettings, is_batch: bool) -> list[str]:
    """What is allowed and yet worth a word."""
    said = []
    if link.via and all(via.use == "nothing" for via in link.via):
        said.append('every [[link.via]] has use = "nothing": mail for the Internet waits for ever.')
    if link.via and all(via.use == "urgent" for via in link.via):
        said.append('every [[link.via]] has use = "urgent": ordinary mail for the Internet waits for ever.')
    said += [
        f"The window_budget of [[link.via]] {via.name} is not below its budget a day: it changes nothing."
        for via in link.via
        if via.budget and via.window_budget >= via.budget
    ]
    said += [
        f"[[link.via]] {later.name} never counts: all of its devices are of {earlier.name} too, and that"
        " stands before it in the file."
        for number, later in enumerate(link.via)
        for earlier in link.via[:number]
        if later.device and all(_is_among(device, earlier.device) for device in later.device)
    ]
    if not exchange.is_set and exchange != ExchangeSettings():
        said.append(
            "[exchange] says nothing of when (every, at, messages or oldest): mail goes whenever it can."
        )
    if is_batch and exchange.is_set:
        said.append("queue.batch is on and [exchange] is set: exchanges send what is batched.")
    return said


def _is_among(device: str, globs: Sequence[str]) -> bool:
    """Whether each device that has this name, or such a name, is named by these too."""
    return any(fnmatchcase(device, glob) for glob in globs)


def _check_probe(link: LinkSettings, say: Say) -> None:
    if link.probe and link.probe != OFF:
        try:
            endpoint = parse_endpoint(link.probe)
        except ValueError as error:
            is_url = "://" in link.probe
            reason = "it is host:port alone, without what stands before it in a browser" if is_url else error
            say("link.probe", f'"{link.probe}": {reason}')
        else:
            if endpoint.path or not endpoint.port:
                say("link.probe", f'"{link.probe}" must be host:port, or "off"')
    if link.probe_every < _SECONDS_5:
        say("link.probe_every", "must be at least 5s")
    if link.small < 1:
        say("link.small", "must be at least 1")


def _check_name(key: str, name: str, names: set[str], say: Say) -> None:
    is_plain = all(c.isalnum() or c in "-_." for c in name)
    if not name or not is_plain or name.startswith("-") or len(name) > _NAME_MAX:
        say(f"{key}.name", f'"{name}" must be letters, digits, - _ and . alone, {_NAME_MAX} at most')
    elif name in names:
        say(f"{key}.name", f'"{name}" is the name of another [[link.via]] already')
    elif name == LINE:
        say(f"{key}.name", f'"{name}" is what the line is called where no link has a name: take another')
    names.add(name)


def _check_devices(key: str, given: Sequence[str], devices: dict[str, int], number: int, say: Say) -> None:
    for device in given:
        is_plain = device.isprintable() and not set(device) & set(" /:")
        if not device or not is_plain or len(device.encode()) > _DEVICE_MAX:
            say(f"{key}.device", f'"{device}" is no name of a network device, such as ppp0 or wwan*')
        elif device == "lo":
            say(f"{key}.device", '"lo" is this machine itself: it leads nowhere')
        elif devices.setdefault(device, number) != number:
            say(f"{key}.device", f'"{device}" is of [[link.via]] number {devices[device]} already')


def _check_window_budget(
    key: str, via: ViaSettings, exchange: ExchangeSettings, is_batch: bool, say: Say
) -> None:
    """It needs something that ends."""
    if not (via.window or exchange.is_set or is_batch):
        say(
            key,
            "there is nothing that it could be counted for: set `window` of this link, or [exchange], or"
            " queue.batch; octets a day are `budget`",
            "",
        )
    texts = via.window or (exchange.at if exchange.is_set else ())
    if is_endless([slot for slot in _right_slots(texts) if slot.is_window]):
        where = "`window`" if via.window else "exchange.at"
        say(key, f"{where} is open all the time, and never begins anew; octets a day are `budget`", "")


def _right_slots(texts: Sequence[str]) -> Sequence[Slot]:
    """None where one is wrong: that is said where it stands."""
    try:
        return parse_slots(texts[:SLOTS_MAX])
    except ValueError:
        return ()


def _check_policy(key: str, via: ViaSettings, say: Say) -> None:
    if not 0 <= via.rate <= RATE_MAX:
        say(f"{key}.rate", "must be 0 (fast) or kbit/s")
    if not 0 <= via.cost <= COST_MAX:
        say(f"{key}.cost", "must be 0 or more")
    if len(via.window) > SLOTS_MAX:
        say(f"{key}.window", f"there may be {SLOTS_MAX} at most")
    for text in via.window[:SLOTS_MAX]:
        try:
            parse_window(text)
        except ValueError as error:
            say(f"{key}.window", f'"{text}": {error}')


def _check_exchange(exchange: ExchangeSettings, say: Say) -> None:
    if exchange.every != _NONE and exchange.every < _MINUTE:
        say("exchange.every", "must be at least 1m, or 0s")
    if exchange.oldest != _NONE and exchange.oldest < _MINUTE:
        say("exchange.oldest", "must be at least 1m, or 0s")
    if exchange.longest < _MINUTE:
        say("exchange.longest", "must be at least 1m")
    if exchange.messages < 0:
        say("exchange.messages", "must be 0 or more")
    if len(exchange.at) > SLOTS_MAX:
        say("exchange.at", f"there may be {SLOTS_MAX} at most")
    for text in exchange.at[:SLOTS_MAX]:
        try:
            parse_slot(text)
        except ValueError as error:
            say("exchange.at", f'"{text}": {error}')
