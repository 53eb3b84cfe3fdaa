"""Forms of settings: a Field for each control, and the values that come back."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import FormData

from cmail.web.desk import Problem, SettingView
from cmail.web.labels import choice_words, label

LINES_MAX: Final = 1000
_VERBS: Final = frozenset("is must has names cannot needs was may".split())
_DECIMAL: Final = re.compile(r"\d{1,15}(?:\.\d{1,15})?")
_UNITS: Final = {"duration": "such as 30s, 5m, 4h, 5d", "size": "such as 50MiB", "list": "one a line"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several."""

    value: str
    words: str


@dataclass(frozen=True, slots=True)
class Field:
    """A control, as macros.html draws it."""

    key: str
    label: str
    kind: str  # switch | choice | list | text
    input: str  # the type of the <input>: text | number
    value: Any  # for the control: text, or true/false
    unit: str
    sentence: str
    choices: Sequence[Choice]
    default_words: str
    error: str
    is_changed: bool
    is_at_restart: bool
    is_resettable: bool
    was: str = ""  # what the draft has, as the form posts it: what is left as it was shown is nobody's wish


def fields_of(
    settings: Mapping[str, SettingView],
    keys: Iterable[str],
    problems: Sequence[Problem] = (),
    given: Mapping[str, Any] | None = None,
) -> list[Field]:
    """A field for each key. `given`: what was typed and refused, to be shown again with what is wrong."""
    return [_field(settings[key], problems, given or {}) for key in keys]


def _field(view: SettingView, problems: Sequence[Problem], given: Mapping[str, Any]) -> Field:
    kind = view.kind if view.kind in ("switch", "choice", "list") else "text"
    value = given.get(view.key, view.value)
    return Field(
        view.key,
        label(view.key),
        kind,
        "number" if view.kind == "number" else "text",
        value if kind == "switch" else in_control(value),
        _UNITS.get(view.kind, ""),
        view.sentence,
        [Choice(choice, choice_words(view.key, choice)) for choice in view.choices],
        in_words(view, view.default),
        error_of(view.key, problems) or view.error,
        view.is_changed,
        view.is_at_restart,
        is_resettable=view.default is not None and view.value != view.default,
        was=_was(kind, view.value),
    )


def _was(kind: str, value: Any) -> str:
    return ("true" if value else "") if kind == "switch" else in_control(value)


def error_of(key: str, problems: Sequence[Problem]) -> str:
    """What is wrong with a setting, and what would be right."""
    for each in problems:
        if each.key == key or each.key.startswith((f"{key}[", f"{key}.")):
            return sentence(each.reason) + (f" For example: {plain(each.example)}" if each.example else "")
    return ""


def plain(example: str) -> str:
    """`domains = ["a", "b"]`, as somebody types it: a or b (of a list each stands on a line of its own)."""
    try:
        value = next(iter(tomllib.loads(example).values()))
    except (tomllib.TOMLDecodeError, StopIteration):
        return example
    return " or ".join(map(str, value)) if isinstance(value, list) else in_control(value)


def sentence(reason: str) -> str:
    """What is wrong. Reasons begin with what they are about, or it is the setting: `must be a host`."""
    is_verb = reason.partition(" ")[0] in _VERBS
    return f"It {reason}." if is_verb else f"{reason[:1].upper()}{reason[1:]}."


def in_control(value: Any) -> str:
    """A value as a text control shows it."""
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    return "" if value is None else str(value)


def in_words(view: SettingView, value: Any) -> str:
    """A value as a sentence has it; "" for none."""
    if value is None or value == "" or value == []:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return choice_words(view.key, str(value))


def read_fields(
    form: FormData | Mapping[str, Any], settings: Mapping[str, SettingView], keys: Iterable[str]
) -> dict[str, Any]:
    """The values of a posted form, of those keys that the form had; as TOML has them. What does not fit
    its type stays text, and the desk says what is wrong with it. What stands as it was shown is left out:
    somebody else may have drafted another value meanwhile."""
    found = {}
    for key in keys:
        kind = settings[key].kind
        text, was = form.get(key), form.get(f"{key}-was")
        if isinstance(was, str) and _lines(was) == _lines(text if isinstance(text, str) else ""):
            continue
        if kind == "switch":
            if form.get(f"{key}-shown"):
                found[key] = text is not None
        elif isinstance(text, str):
            found[key] = _value(kind, text)
    return found


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _bare(line: str) -> str:
    """ "22:00-06:00", as a file has it: without quotes and comma. Nothing of a list begins with a quote."""
    return line.removesuffix(",").strip('"') if line.startswith('"') else line


def _value(kind: str, text: str) -> Any:
    stripped = text.strip()
    if kind in ("number", "size") and stripped.isascii() and stripped.isdigit() and len(stripped) < 18:
        return int(stripped)
    if kind == "decimal" and _DECIMAL.fullmatch(stripped):
        return float(stripped)
    if kind == "list":
        lines = [_bare(line.strip()) for line in _lines(text).split("\n")]
        return [line for line in lines if line][:LINES_MAX]
    return stripped
