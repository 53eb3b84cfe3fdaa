"""/settings: all values and what they mean; checked, saved and applied in one step; versions of before."""

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from starlette.responses import JSONResponse

from cmail.admin.rows import rfc3339
from cmail.web.api.operation import Answer, Call, Operation
from cmail.web.api.problems import ApiError, escape, pointer_of
from cmail.web.api.settings_schemas import (
    BROUGHT,
    PATCHED,
    PATCHED_EXAMPLE,
    SETTINGS,
    SETTINGS_EXAMPLE,
    VERSIONS,
    VERSIONS_EXAMPLE,
)
from cmail.web.desk import Change, Problem, SettingView

Fields = dict[str, Any]
PASSWORD: Final = "smtp.password"  # written only; it is kept in a file that smtp.password_file names
_SECRETS: Final = {PASSWORD: "smtp.password_file"}
_OF_ROW: Final = "password"  # likewise, in a row that has a password_file
_VERSION_DIGITS: Final = 9


async def settings(call: Call) -> Answer:
    """What holds by the file; what somebody has drafted on the page beside it."""
    found = call.context.desk.settings()
    answer = {"values": nested(found), "settings": [_shown(each) for each in found.values()]}
    return JSONResponse(answer, headers={"etag": etag(found)})


async def patch(call: Call) -> Fields:
    """These values, at once; null: the default."""
    desk = call.context.desk
    known = desk.settings()
    if (wanted := call.request.headers.get("if-match")) and wanted not in ("*", etag(known)):
        raise ApiError(412, "The settings are not as they were when you looked: get them again.")
    values, secrets, wrong = _flat(call.body, known)
    saved = await desk.save_values(values, secrets, call.by, wrong)
    call.context.overviews.forget()
    changes = [_change(each) for each in saved.changes]
    return {"changes": changes, "notes": list(saved.notes), "is_applied": saved.is_applied}


async def versions(call: Call) -> Fields:
    """The files of before, the newest first."""
    found = await asyncio.to_thread(call.context.desk.versions)
    return {
        "versions": [
            {
                "number": each.number,
                "saved": rfc3339(each.wall_ms),
                "by": each.by,
                "changes": [_change(change) for change in each.changes],
            }
            for each in found
        ]
    }


async def restore(call: Call) -> Fields:
    """A file of before, as it was."""
    number = call.path["number"]
    try:
        if not (number.isascii() and number.isdigit() and len(number) <= _VERSION_DIGITS):
            raise KeyError(number)
        notes = await call.context.desk.bring_back(int(number), call.by)
    except KeyError:
        raise ApiError(404, "There is no such version (any more).") from None
    call.context.overviews.forget()
    return {"notes": list(notes)}


def nested(found: Mapping[str, SettingView]) -> Fields:
    """Tables within tables, as in the file."""
    tree: Fields = {}
    for key, view in found.items():
        *path, name = key.split(".")
        table = tree
        for part in path:
            table = table.setdefault(part, {})
        table[name] = view.saved
    return tree


def etag(found: Mapping[str, SettingView]) -> str:
    """Of all values: two that are alike have the same (RFC 9110 §8.8.3)."""
    octets = json.dumps([[key, view.saved, view.is_in_file] for key, view in found.items()], default=str)
    return f'"{hashlib.sha256(octets.encode("utf-8", "replace")).hexdigest()[:32]}"'


def _shown(view: SettingView) -> Fields:
    shown = {
        "key": view.key,
        "pointer": pointer_of(view.key),
        "value": view.saved,
        "default": view.default,
        "kind": view.kind,
        "choices": list(view.choices),
        "unit": view.unit,
        "sentence": view.sentence,
        "is_in_file": view.is_in_file,
        "is_changed": view.is_changed,
        "at_restart": view.is_at_restart,
        "file_only": view.is_file_only,
    }
    return {**shown, "draft": view.value} if view.is_changed else shown


def _change(change: Change) -> Mapping[str, str]:
    return {"key": change.key, "old": change.old, "new": change.new}


def _flat(body: Fields, known: Mapping[str, SettingView]) -> tuple[Fields, dict[str, str], list[Problem]]:
    """Values and passwords by their dotted keys, and what is no setting."""
    values: Fields = {}
    secrets: dict[str, str] = {}
    wrong = []
    for path, value in _leaves(body, (), known):
        key = ".".join(path)
        pointer = "".join(f"/{escape(part)}" for part in path)
        is_odd = any("." in part for part in path)  # {"smtp.port": 1} is not {"smtp": {"port": 1}}
        if key in _SECRETS and not is_odd:
            if value is None or isinstance(value, str):
                secrets[_SECRETS[key]] = value or ""
            else:
                wrong.append(Problem(pointer, "must be text or null"))
        elif key not in known or is_odd:
            wrong.append(Problem(pointer, _unknown("" if is_odd else key, known)))
        else:
            values[key] = _rows(key, value, known[key], secrets, wrong)
    return values, secrets, wrong


def _rows(key: str, value: Any, view: SettingView, secrets: dict[str, str], wrong: list[Problem]) -> Any:
    """The value; of rows that may have a password without it, which goes to the secrets."""
    if not isinstance(value, list) or f"{key}.password_file" not in {each.key for each in view.columns}:
        return value
    found = []
    for number, row in enumerate(value, 1):
        if isinstance(row, dict) and _OF_ROW in row:
            password = row[_OF_ROW]
            if password is None or isinstance(password, str):
                secrets[f"{key}[{number}].password_file"] = password or ""
            else:
                wrong.append(Problem(f"{key}[{number}].{_OF_ROW}", "must be text or null"))
            row = {name: each for name, each in row.items() if name != _OF_ROW}
        found.append(row)
    return found


def _leaves(
    table: Fields, path: tuple[str, ...], known: Mapping[str, SettingView]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        here = (*path, name)
        is_table = isinstance(value, dict) and ".".join(here) not in known and len(here) < 4
        if is_table and value:
            yield from _leaves(value, here, known)
        else:
            yield here, value


def _unknown(key: str, known: Mapping[str, SettingView]) -> str:
    inner = [each.removeprefix(f"{key}.") for each in known if key and each.startswith(f"{key}.")]
    return f"is a table; in it there is: {', '.join(inner)}" if inner else "there is no such setting"


OPERATIONS: Final = (
    Operation(
        "GET",
        "/settings",
        "read",
        "All settings",
        settings,
        "`values` has them in tables as cmail.toml has, `settings` one by one with default, kind, unit and"
        " sentence. Passwords are not shown. The ETag is good for If-Match.",
        result=SETTINGS,
        result_example=SETTINGS_EXAMPLE,
    ),
    Operation(
        "PATCH",
        "/settings",
        "admin",
        "Change settings: check, save, apply",
        patch,
        "Tables as in cmail.toml, with those keys alone that change; null brings back the default; a list is"
        " replaced whole. All errors are told at once, each with its JSON pointer: then nothing is changed."
        " What somebody has drafted on the page stays drafted. `smtp.password` can be written and not read,"
        " and so can `password` in a row of `collect`, `link.kick` and `site`; a row that keeps"
        " `password_file` keeps its password. Keys that name a file or a program are set in the file only."
        " With If-Match nobody else's change is overwritten unseen.",
        body={"type": "object", "examples": [{"smtp": {"port": 587}}]},
        example={"smtp": {"host": "smtp.isp.example", "port": 587}, "queue": {"lifetime": None}},
        result=PATCHED,
        result_example=PATCHED_EXAMPLE,
        refusals={
            409: "The file was changed by hand meanwhile.",
            412: "The settings are not those of If-Match.",
        },
    ),
    Operation(
        "GET",
        "/settings/versions",
        "read",
        "The last 20 versions of the file",
        versions,
        result=VERSIONS,
        result_example=VERSIONS_EXAMPLE,
    ),
    Operation(
        "POST",
        "/settings/versions/{number}/restore",
        "admin",
        "Go back to a version",
        restore,
        "The file is written as it was then, and the server takes it over. What is there now becomes a"
        " version.",
        result=BROUGHT,
        result_example={"notes": []},
    ),
)
