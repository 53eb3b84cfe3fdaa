"""SettingError: the one way a setting is refused, with key, reason and example."""

from dataclasses import dataclass
from typing import Annotated, NewType


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One thing wrong in the settings: its key, what is wrong and what would be right."""

    key: str  # dotted, as in the file: "smtp.port", "listener[1].kind"
    reason: str  # what is wrong, in words
    example: str = ""  # what would be right: 'port = 25'
    line: int = 0  # in the file, from 1; 0 when it has none (a key that is missing)

    def __str__(self) -> str:
        """key: reason (for example: ...)"""
        return f"{self.key}: {self.reason}" + (
            f" (for example: {self.example})" if self.example else ""
        )


class SettingError(ValueError):
    """Settings that cannot be used; carries every problem at once."""

    def __init__(self, problems: tuple[SettingProblem, ...], path: str = "") -> None:
        self.problems = problems
        self.path = path
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line a problem: file:line: key: reason (for example: ...)."""
        where = [
            f"{self.path}:{p.line}: "
            if self.path and p.line
            else f"{self.path}: " * bool(self.path)
            for p in self.problems
        ]
        return [w + str(p) for w, p in zip(where, self.problems, strict=True)]


ByteSize = NewType("ByteSize", int)  # in the file: 50MiB, 64KiB, 1000 (octets)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """[host] Host Configuration."""

    hostname: Annotated[str, "The name used in greetings; always local."] = "localhost"
    domains: Annotated[tuple[str, ...], "Mail for these is ours; a bare name gets the first."] = ()
    data_dir: Annotated[str, "Where queue, mailboxes and accounts are kept."] = "/var/lib/cmail"
    user: Annotated[str, "Who it runs as when started by root; owns data_dir."] = "cmail"
    workers: Annotated[int, "Worker processes; 0 is one a core."] = 0
