"""Snapshot: the settings that hold, numbered, with the secrets that don't stand in them."""

import ctypes
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Final

from cmail.app import config
from cmail.app.config_checks import password_files
from cmail.app.settings import Settings
from cmail.observe import maillog
from cmail.settings import SettingError, SettingProblem

PASSWORD_VARIABLE: Final = "CMAIL_SMTP_PASSWORD"
PASSWORD_OCTETS_MAX: Final = 4096
_NOT_AGAIN: Final = (
    "has changed and cannot be read any more (only root may): the password from before goes on "
    "until the server is started again"
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading of the settings. Its number grows with each reload that succeeds."""

    number: int
    path: str
    text: str
    settings: Settings
    smtp_password: str = field(default="", repr=False)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)  # of all others, by their files


class Source:
    """The settings file of a running server. Its folder stays open, because the user that root becomes
    may not be able to go there; and so do the secrets that only root could read."""

    def __init__(self, path: str, environ: MutableMapping[str, str] = os.environ) -> None:
        self.path = os.path.abspath(path)
        self._password_in_environ = environ.get(PASSWORD_VARIABLE, "")
        if environ is os.environ:
            _wipe(PASSWORD_VARIABLE)
        environ.pop(PASSWORD_VARIABLE, None)
        self._known: dict[str, str] = {}  # password file -> what was read with the rights of the start
        self._stamps: dict[str, tuple[int, ...]] = {}  # and what the file looked like then
        try:
            self._folder = os.open(os.path.dirname(self.path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
            raise SettingError((SettingProblem("settings file", reason),), self.path) from None

    def reach(self) -> str:
        """The file as the user of the server gets to it: by its path, else by the folder that is held open
        (a checkout under /root)."""
        if os.access(os.path.dirname(self.path), os.X_OK):
            return self.path
        return f"/proc/self/fd/{self._folder}/{os.path.basename(self.path)}"

    def read(self, number: int, files_held: tuple[str, ...] = ()) -> Snapshot:
        """Read and check everything; SettingError carries all that is wrong."""
        text = config.read(self.path, self._folder)
        held = (*files_held, *self._known)
        settings = config.load_text(text, self.path, files_held=held)
        passwords = {path: self._read(key, path) for key, path in password_files(settings)}
        return Snapshot(number, self.path, text, settings, self._password(settings), passwords)

    def _password(self, settings: Settings) -> str:
        path = settings.smtp.password_file
        return self._read("smtp.password_file", path) if path else self._password_in_environ

    def _read(self, key: str, path: str) -> str:
        try:
            with open(path, "rb") as file:
                octets = file.read(PASSWORD_OCTETS_MAX)
        except OSError:  # checked before: root's, and read by root at the start
            if path in self._known and self._stamps.get(path) != _stamp(path):
                maillog.warned(f"{key} {path} {_NOT_AGAIN}")
            return self._known.get(path, "")
        password = octets.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
        if any(c in password for c in "\r\n\0"):
            reason = f"{path} must hold the password alone, on one line"
            raise SettingError((SettingProblem(key, reason),), self.path)
        self._known[path], self._stamps[path] = password, _stamp(path)
        return password


def _stamp(path: str) -> tuple[int, ...]:
    """Changes when the file does; of one that cannot be looked at nothing is known."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _wipe(variable: str) -> None:
    """Overwrite it where the kernel put it: /proc/PID/environ shows that, of our children too."""
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    place = libc.getenv(variable.encode())
    if place:
        ctypes.memset(place, 0, len(ctypes.string_at(place)))


def handed_over(
    number: int, path: str, text: str, smtp_password: str, passwords: Mapping[str, str] | None = None
) -> Snapshot:
    """The snapshot in another process: checked before, by the supervisor."""
    settings = config.load_text(text, path, is_machine_checked=False)
    return Snapshot(number, path, text, settings, smtp_password, passwords or {})
