"""What becomes of mail for the Internet that is let go by hand where exchanges or links keep it, in words.

The fields that a worker answers with beside the number of recipients, put together, and said. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

Fields = dict[str, Any]


def add_going(answers: Iterable[Mapping[str, Any]]) -> Fields:
    """The answers of several workers to queue.change as one."""
    total: Fields = {"recipients": 0}
    for answer in answers:
        total["recipients"] += int(answer.get("recipients", 0))
        for name in ("messages", "kept"):
            if answer.get(name):
                total[name] = int(total.get(name, 0)) + int(answer[name])
        for name in ("exchange", "no_exchange", "is_alone", "is_link_down"):
            if answer.get(name):
                total[name] = answer[name]
    return total


def going_words(answer: Mapping[str, Any]) -> list[str]:
    """Sentences; none where all of it simply goes."""
    said = []
    is_down = bool(answer.get("is_link_down") and answer.get("messages"))
    if answer.get("no_exchange"):
        said.append(
            f"No exchange can begin now ({answer['no_exchange']}):"
            " mail for the Internet goes with the next one."
        )
    elif answer.get("exchange"):
        said.append("An exchange begins: all that waits for the Internet goes now.")
    elif answer.get("is_alone") and is_down:
        said.append("The link is down: it goes as soon as that is up, without waiting for an exchange.")
    elif answer.get("is_alone"):
        said.append("It goes now, without an exchange; other mail waits for the next one.")
    elif is_down:
        said.append("The link is down: mail for the Internet goes when it is up.")
    if kept := int(answer.get("kept", 0)):
        one = kept == 1
        said.append(
            f"{kept} message{'' if one else 's'} may not go over the links that are up now,"
            f" and wait{'s' if one else ''}."
        )
    return said
