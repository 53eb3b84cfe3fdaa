"""SettingsFile: cmail.toml as the desk reads it, checks what it is to be, writes it and keeps a version."""

import os
from collections.abc import Mapping, Sequence

from cmail.app.config import load_text, read
from cmail.app.desk_values import Raw, problems_of, raw_of
from cmail.app.desk_versions import Versions
from cmail.app.toml_edit import edit
from cmail.observe import maillog
from cmail.settings import SettingError
from cmail.storage import durable
from cmail.web.desk import Change, DraftError, Problem


class SettingsFile:
    """Everything raises DraftError, with words for people."""

    def __init__(self, path: str, versions: Versions, reach: str = "") -> None:
        """`reach`: how it is opened, where that is not by its path."""
        self._path, self.versions = path, versions
        self._reach = reach or path

    def text(self) -> str:
        """As it stands there."""
        try:
            return read(self._reach)
        except SettingError as error:
            raise DraftError(problems_of(error)) from None

    def raw(self) -> dict[str, Raw]:
        """What it says, key by key."""
        return raw_of(self.text())

    def text_with(self, values: Mapping[str, Raw]) -> str:
        """As it would be with these; comments and order stay."""
        try:
            return edit(self.text(), values)
        except ValueError as error:
            raise DraftError([Problem("settings file", f"this is not TOML: {error}")]) from None

    def check(self, text: str) -> None:
        """Whether a server could run by it."""
        try:
            load_text(text, self._path, is_machine_checked=False)
        except SettingError as error:
            raise DraftError(problems_of(error)) from None

    def write(self, text: str, by: str, changes: Sequence[Change]) -> None:
        """Durably; what it was and what it is are kept as versions. Blocks."""
        self.versions.keep(self.text(), "", ())
        try:
            mode = os.stat(self._reach).st_mode & 0o777
            durable.write_durably(self._reach, text.encode(), mode)
        except OSError as error:
            folder = os.path.dirname(os.path.abspath(self._path))
            words = f"{self._path} cannot be written: {(error.strerror or str(error)).lower()}"
            words += f"; give {folder} to the user that the server runs as"
            raise DraftError([Problem("settings file", words)]) from None
        self.versions.keep(text, by, changes)
        maillog.noted(f"settings saved by {by}: {', '.join(change.key for change in changes)}")
