"""Asker: questions in a terminal, or answered line by line on standard input."""

import getpass
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

import click

from cmail.cli.exits import Exit, Refusal

_YES = ("y", "yes", "j", "ja", "true", "1")
_NO = ("n", "no", "nein", "false", "0")


class Asker:
    """At the end of a pipe every question takes its default; one that has none ends the command. What is
    wrong is asked again in a terminal, and ends the command on a pipe: the lines behind it mean other
    questions."""

    def __init__(self, lines: TextIO | None = None) -> None:
        self._lines = lines or sys.stdin
        self.is_terminal = self._lines.isatty()

    def ask(self, words: str, default: str | None = None) -> str:
        """One line. None: there has to be an answer, which may be an empty one in a terminal."""
        hint = f" [{default}]" if default else ""
        click.echo(f"{words}{hint}: ", nl=False)
        line = self._lines.readline()
        if not self.is_terminal:
            click.echo(line.rstrip("\r\n"))
        if not line and default is None:
            raise Refusal(f"the input ends before the answer to: {words}", Exit.USAGE)
        return line.strip() or default or ""

    def secret(self, words: str) -> str:
        """A password: not shown while it is typed, and not stripped; "" for none."""
        if self.is_terminal:
            return getpass.getpass(f"{words}: ")
        click.echo(f"{words}: (not shown)")
        return self._lines.readline().rstrip("\r\n")

    def choose(self, words: str, choices: Mapping[str, str], default: str) -> str:
        """By number or by name."""
        names = list(choices)
        click.echo(f"\n{words}:")
        for number, name in enumerate(names, 1):
            click.echo(f"  {number}  {choices[name]}")
        while True:
            text = self.ask("Number", str(names.index(default) + 1))
            if text in names:
                return text
            if text.isascii() and text.isdigit() and 0 < int(text[:6]) <= len(names):
                return names[int(text) - 1]
            self.wrong([f"{text!r} is none of 1 to {len(names)}."])

    def confirm(self, words: str, *, default: bool) -> bool:
        """Yes or no."""
        while True:
            text = self.ask(f"{words} ({'Y/n' if default else 'y/N'})", "").lower()
            if not text:
                return default
            if text in (*_YES, *_NO):
                return text in _YES
            self.wrong([f"{text!r} is neither yes nor no."])

    def wrong(self, words: Sequence[str]) -> None:
        """What is wrong with the last answers: said, or the end."""
        if not self.is_terminal:
            raise Refusal("; ".join(words), Exit.DATA)
        for each in words:
            click.echo(f"  {each}", err=True)
