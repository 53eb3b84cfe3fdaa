"""The frame of every `cmail` command: --config anywhere, sub-commands loaded when they are called."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, cast

import click

_CONFIG: Final = "cmail.config"


def _remember(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value:
        context.meta[_CONFIG] = value  # meta is one for the whole chain of commands


def _config_option() -> click.Option:
    return click.Option(
        ["--config"],
        metavar="FILE",
        expose_value=False,
        callback=_remember,
        help="The settings file (else $CMAIL_CONFIG, ./var/cmail.toml, /etc/cmail/cmail.toml).",
    )


def config_option() -> str:
    """What --config said on this command line, wherever it stood; "" when it was not given."""
    return cast(str, click.get_current_context().meta.get(_CONFIG, ""))


class Command(click.Command):
    """A command that takes --config."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params.append(_config_option())


class Group(click.Group):
    """Commands under one name; it takes --config too, and so do they."""

    command_class = Command

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params.append(_config_option())


class LazyGroup(Group):
    """A group whose commands are imported when they are called: what a command does not need, it
    does not wait for. Each name stands with its module and its one line of help."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which they are read best."""
        return [*self._lazy, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module = import_module(self._lazy[cmd_name][0])
        return cast(click.Command, module.command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of --help, without importing any of them."""
        rows = [(name, text) for name, (_module, text) in self._lazy.items()]
        rows += [(name, c.get_short_help_str(80)) for name, c in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def group(help_text: str) -> Callable[[], Group]:
    """A Group with its help; what stands in the module that LazyGroup loads."""
    return lambda: Group(help=help_text, no_args_is_help=True)
