"""`cmail link up|down|probe`, without waiting for the other commands: mail waits for it at each link-up.

Any other line, a wrong one too, is for cli.program, whose cli.link says these three as well."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from cmail.cli.exits import Exit, Refusal
from cmail.cli.place import become_owner, find_running
from cmail.net.control_client import BlockingControlClient

_VERBS: Final = ("up", "down", "probe")
_ASK_S: Final = 10.0

Words = Callable[[Mapping[str, Any], str], str]


class Quick(NamedTuple):
    """One of the three, of a link, of a network device, or of all ("")."""

    verb: str
    name: str = ""
    config: str = ""
    is_by_hook: bool = False

    def say(self) -> int:
        """Tell the server, print what follows from it; the exit code."""
        if self.is_by_hook and not self.name:
            raise Refusal("--hook needs the name of a network device", Exit.USAGE)
        place, trouble = find_running(self.config)
        words = _hook_words if self.is_by_hook else _words_of(self.verb)  # all is loaded, and then
        become_owner(place, needs_groups=False)  # who may not be able to read where this program lies
        fields: dict[str, object] = {"name": self.name}
        if self.is_by_hook:
            fields["by_hook"] = True
        client = BlockingControlClient(f"{place.data_dir}/run", "link", _ASK_S)
        told = client.ask(f"link.{self.verb}", fields).ok
        sys.stdout.write(words(told, self.name) + "\n")
        if trouble:
            sys.stderr.write(f"cmail: {trouble}; the server goes on with its settings of before\n")
        return Exit.OK


def parse_quick(words: Sequence[str]) -> Quick | None:
    """What a command line says, when it is one of the three and nothing is odd about it."""
    if len(words) < 2 or words[0] != "link" or words[1] not in _VERBS:
        return None
    names: list[str] = []
    config, is_by_hook = "", False
    rest = iter(words[2:])
    for word in rest:
        if word == "--config":
            config = next(rest, "")
            if not config or config.startswith("-"):
                return None
        elif word == "--hook" and words[1] != "probe":
            is_by_hook = True
        elif word.startswith("-") or names:
            return None
        else:
            names.append(word)
    return Quick(words[1], "".join(names), config, is_by_hook)


def _words_of(verb: str) -> Words:
    if verb == "probe":
        return _probe_words
    from cmail.admin.link_words import down_words, up_words

    return up_words if verb == "up" else down_words


def _hook_words(told: Mapping[str, Any], name: str) -> str:
    """For the log of the system."""
    if not told.get("touched", True):
        return f"noted of {name}: no mail goes by it"
    if told.get("is_down"):
        return f"noted of {name}: mail for the Internet waits: {told.get('words', '')}"
    return f"noted of {name}: the link is up"


def _probe_words(told: Mapping[str, Any], _name: str) -> str:
    if probed := told.get("probed"):
        names = ", ".join(probed)
        return f"It is being looked at ({names}): `cmail link status` says what comes of it."
    why = told.get("words") or 'there is no host to probe ("link.probe", "smtp.host")'
    raise Refusal(f"nothing can be probed: {why}", Exit.UNAVAILABLE)
