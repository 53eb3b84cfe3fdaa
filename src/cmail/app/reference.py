"""Renders docs/reference/config.md from the Settings types; a test fails when the file differs.

python -m cmail.app.reference > docs/reference/config.md"""

from dataclasses import MISSING
from typing import Final

from cmail.app.catalog import NOT_YET, Setting, Table, describe_type, print_setting_value, read_catalog
from cmail.app.config_shape import EXAMPLES
from cmail.app.settings import Settings

_HEAD: Final = """\
# Settings: cmail.toml

This page is printed from the program (`python -m cmail.app.reference`); `cmail config check` tells of every
mistake in a file with its line, `cmail config show` prints what holds, defaults included.

`cmail` looks for `--config` (`sendmail`: `-C`), `$CMAIL_CONFIG`, `./var/cmail.toml`, `/etc/cmail/cmail.toml`.
Relative places count from the folder of the file. A running server reads it anew at SIGHUP; a file that does
not validate never replaces one that runs. Passwords, users and aliases don't stand in it.
"""


def render_reference() -> str:
    """The manual of the settings file, in Markdown."""
    catalog = read_catalog(Settings)
    sections = [_HEAD, *(_section(table) for table in catalog.walk() if table.key), _not_yet()]
    return "\n".join(sections)


def _section(table: Table) -> str:
    header = f"[[{table.key}]]" if table.is_array else f"[{table.key}]"
    title = f"## {header}" + (f": {table.sentence}" if table.sentence else "")
    rows = [_row(setting) for setting in table.settings.values()]
    return "\n".join(
        [title, "", "| Key | What it says | Value | Default |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _row(setting: Setting) -> str:
    kind = describe_type(setting.type).replace("|", "\\|")
    if setting.default is MISSING:
        default = f"none; for example `{EXAMPLES[setting.key]}`"
    else:
        default = f"`{print_setting_value(setting, setting.default)}`"
    return f"| `{setting.name}` | {setting.sentence} | {kind} | {default} |"


def _not_yet() -> str:
    names = ", ".join(f"`[{name}]`" for name in NOT_YET)
    return f"## Not there yet\n\n{names}: a file that has one of these is refused, not half obeyed.\n"


if __name__ == "__main__":
    print(render_reference(), end="")
