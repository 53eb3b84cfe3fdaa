"""TOML file -> typed Settings tree; every error names its key, line and an example."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from cmail.app.config_checks import check_machine, check_meaning
from cmail.app.config_checks import notes as notes
from cmail.app.config_lines import find_lines
from cmail.app.config_shape import Shape
from cmail.app.settings import Settings
from cmail.link.collect.box import bare_host
from cmail.settings import SettingError, SettingProblem

LOCAL_CONFIG: Final = os.path.join("var", "cmail.toml")
SYSTEM_CONFIG: Final = "/etc/cmail/cmail.toml"
FILE_OCTETS_MAX: Final = 512 * 1024  # it travels to the workers in one line of 1 MiB
_DEEP_KEY: Final = re.compile(
    r"""(?:\.[ \t]*(?:[A-Za-z0-9_-]{1,64}|"[^"\n]{0,64}"|'[^'\n]{0,64}')[ \t]*){64}"""
)
_TWICE: Final = re.compile(r"Cannot declare \((.*)\) twice")
_QUOTES: Final = "text stands in quotes, and so do sizes, durations and times of day"
_PLAINER: Final = {  # tomllib says: what is meant
    "Invalid value": f"the value cannot be read; {_QUOTES}",
    "Expected newline or end of document after a statement": f"there is more than one value; {_QUOTES}",
    "Unclosed array": f"the list has no end, or a comma is missing in it; {_QUOTES}",
}
_WITHIN: Final = re.compile(r"[.\[]")
_DEPTH_MAX: Final = 8  # no setting stands deeper, and a key that does is said by the table that it is in
_AT_LINE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")


def find_config(explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """--config, $CMAIL_CONFIG, ./var/cmail.toml, /etc/cmail/cmail.toml. SettingError when none is."""
    named = explicit or environ.get("CMAIL_CONFIG", "")
    if named:
        return named
    for path in (LOCAL_CONFIG, SYSTEM_CONFIG):
        if os.path.exists(path):
            return path
    reason = f"there is neither ./{LOCAL_CONFIG} nor {SYSTEM_CONFIG}; make one: cmail config init"
    raise SettingError((SettingProblem("settings file", reason),))


def read(path: str, folder: int | None = None) -> str:
    """The text of a settings file; SettingError when it cannot be read. `folder` is a descriptor of
    the folder that it stands in, for who cannot go there by its path."""
    try:
        fd = os.open(os.path.basename(path) if folder else path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "rb") as file:
            octets = file.read(FILE_OCTETS_MAX + 1)
    except FileNotFoundError:
        raise _file_error(
            path, f"there is no such file; make one: cmail config init --config {path}"
        ) from None
    except OSError as error:
        raise _file_error(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    return decode(octets, path)


def decode(octets: bytes, path: str = "") -> str:
    """The text of what was read; SettingError when it is none or too long."""
    if len(octets) > FILE_OCTETS_MAX:
        raise _file_error(path, f"is longer than {FILE_OCTETS_MAX} octets")
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise _file_error(path, "is not UTF-8 text", line) from None


def load(path: str) -> Settings:
    """The settings of a file, checked whole. SettingError carries everything that is wrong."""
    return load_text(read(path), path)


def load_text(
    text: str, path: str = "", *, is_machine_checked: bool = True, files_held: tuple[str, ...] = ()
) -> Settings:
    """The settings of a text; relative places in it count from the folder of `path`. Workers, which
    have fewer rights and a text that was checked, leave out whether files and users are there; a
    server that has dropped its rights leaves out the files that it read before (`files_held`)."""
    raw = parse(text, path)
    shape = Shape()
    settings = shape.settings(raw)
    shape.close_keys()
    settings = _place(settings, os.path.dirname(os.path.abspath(path)) if path else os.getcwd())
    check_meaning(settings, shape.say)
    if is_machine_checked:
        check_machine(settings, shape.say, files_held)
    if shape.problems:
        raise SettingError(_with_lines(shape.problems, text), path)
    return settings


def parse(text: str, path: str) -> dict[str, Any]:
    """What a text says, not checked yet; SettingError when it is no TOML."""
    if deep := _DEEP_KEY.search(text):  # tomllib would take minutes for thousands of them
        problem = SettingProblem(
            "settings file", "this key is too deep", "", text.count("\n", 0, deep.start()) + 1
        )
        raise SettingError((problem,), path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is a plain ValueError
        words = str(error)
        at = _AT_LINE.search(words)
        line = int(at[1]) if at and at[1] else text.count("\n") + 1
        reason, right = _toml_words(_AT_LINE.sub("", words))
        problem = SettingProblem("settings file", reason, right, line)
        raise SettingError((problem,), path) from None


def _toml_words(words: str) -> tuple[str, str]:
    """What tomllib says, in plainer words where people trip; and what would be right."""
    if found := _TWICE.fullmatch(words):
        table = re.sub(r"[(),' ]+", ".", found[1]).strip(".")
        return f"the table {table} stands there already: put what is below this line under the first one", ""
    if words == "Cannot overwrite a value":
        return "this stands there already: a key, or a table, can be there once", ""
    return f"this is not TOML: {_PLAINER.get(words, words)}", 'key = "text" or key = 25'


def _file_error(path: str, reason: str, line: int = 0) -> SettingError:
    return SettingError((SettingProblem("settings file", reason, "", line),), path)


def _with_lines(problems: list[SettingProblem], text: str) -> tuple[SettingProblem, ...]:
    lines = _first_lines(find_lines(text))
    placed = [replace(problem, line=_line_of(problem.key, lines)) for problem in problems]
    return tuple(sorted(placed, key=lambda problem: problem.line))


def _first_lines(lines: Mapping[str, int]) -> dict[str, int]:
    """The line of each key, and of each table and array the line of the first thing in it."""
    first: dict[str, int] = {}
    for place, line in lines.items():
        ends = (found.start() for found in islice(_WITHIN.finditer(place), _DEPTH_MAX))
        for key in (*(place[:end] for end in ends), place):
            first[key] = min(line, first.get(key, line))
    return first


def _line_of(key: str, first: Mapping[str, int]) -> int:
    """The line of a key or of the first thing in it, or of the table that it is missing in."""
    while key:
        if key in first:
            return first[key]
        key = key.rpartition(".")[0]
    return 0


def _place(settings: Settings, folder: str) -> Settings:
    """Make relative places absolute, and names lower case: they mean the same wherever one stands."""

    def absolute(path: str) -> str:
        return os.path.normpath(os.path.join(folder, path)) if path else ""

    host, tls = settings.host, settings.tls
    return replace(
        settings,
        host=replace(
            host,
            hostname=host.hostname.lower().removesuffix("."),
            domains=tuple(domain.lower().removesuffix(".") for domain in host.domains),
            data_dir=absolute(host.data_dir),
        ),
        forward=tuple(
            replace(each, domain=each.domain.lower().removesuffix(".")) for each in settings.forward
        ),
        site=tuple(
            replace(
                each,
                domains=tuple(domain.lower().removesuffix(".") for domain in each.domains),
                password_file=absolute(each.password_file),
            )
            for each in settings.site
        ),
        smtp=replace(settings.smtp, password_file=absolute(settings.smtp.password_file)),
        link=replace(
            settings.link,
            kick=tuple(
                replace(each, password_file=absolute(each.password_file)) for each in settings.link.kick
            ),
        ),
        collect=tuple(
            replace(
                each,
                host=bare_host(each.host),
                password_file=absolute(each.password_file),
                to=_lower_domain(each.to),
            )
            for each in settings.collect
        ),
        tls=replace(
            tls,
            certificate_file=absolute(tls.certificate_file),
            key_file=absolute(tls.key_file),
            ca_file=absolute(tls.ca_file),
        ),
        log=replace(settings.log, file=absolute(settings.log.file)),
    )


def _lower_domain(address: str) -> str:
    """Case matters in front of the @ alone."""
    local_part, at, domain = address.rpartition("@")
    return f"{local_part}{at}{domain.lower().removesuffix('.')}"
