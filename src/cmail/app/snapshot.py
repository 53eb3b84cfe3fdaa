"""Snapshot: the settings that hold, numbered, with the secrets that don't stand in them."""

import os
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Final

from cmail.app import config
from cmail.app.settings import Settings
from cmail.settings import SettingError, SettingProblem

PASSWORD_VARIABLE: Final = "CMAIL_SMTP_PASSWORD"
PASSWORD_OCTETS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading of the settings. Its number grows with each reload that succeeds."""

    number: int
    path: str
    text: str
    settings: Settings
    smtp_password: str = field(default="", repr=False)


class Source:
    """The settings file of a running server. Its folder stays open, because the user that root becomes
    may not be able to go there; and so do the secrets that only root could read."""

    def __init__(self, path: str, environ: MutableMapping[str, str] = os.environ) -> None:
        self.path = os.path.abspath(path)
        self._password_in_environ = environ.pop(PASSWORD_VARIABLE, "")  # children need not show it
        self._known: dict[str, str] = {}  # password file -> what was read with the rights of the start
        try:
            self._folder = os.open(os.path.dirname(self.path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
            raise SettingError((SettingProblem("settings file", reason),), self.path) from None

    def read(self, number: int, files_held: tuple[str, ...] = ()) -> Snapshot:
        """Read and check everything; SettingError carries all that is wrong."""
        text = config.read(self.path, self._folder)
        held = (*files_held, *self._known)
        settings = config.load_text(text, self.path, files_held=held)
        return Snapshot(number, self.path, text, settings, self._password(settings))

    def _password(self, settings: Settings) -> str:
        path = settings.smtp.password_file
        if not path:
            return self._password_in_environ
        try:
            with open(path, "rb") as file:
                octets = file.read(PASSWORD_OCTETS_MAX)
        except OSError:
            return self._known.get(path, "")  # checked before: root's, and read by root at the start
        password = octets.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
        if any(c in password for c in "\r\n\0"):
            reason = f"{path} must hold the password alone, on one line"
            raise SettingError((SettingProblem("smtp.password_file", reason),), self.path)
        self._known[path] = password
        return password


def handed_over(number: int, path: str, text: str, smtp_password: str) -> Snapshot:
    """The snapshot in another process: checked before, by the supervisor."""
    settings = config.load_text(text, path, is_machine_checked=False)
    return Snapshot(number, path, text, settings, smtp_password)
