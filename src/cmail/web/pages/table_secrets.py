"""The password of a row: typed and never shown; in a file of DATA/secrets, or in one of somebody's own."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import FormData

from cmail.web.pages.table_kinds import PASSWORD

_OCTETS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class SecretWords:
    """What is shown instead of it."""

    words: str
    is_ours: bool  # typed here, or none: another one may be typed
    is_set: bool


class RowSecrets:
    """Of all rows."""

    def __init__(self, data_dir: str) -> None:
        self._folder = os.path.join(data_dir, "secrets")

    def is_ours(self, row: Mapping[str, Any]) -> bool:
        """Whether it is one that was typed, or none."""
        path = row.get(PASSWORD)
        return not path or os.path.dirname(str(path)) == self._folder

    def typed(self, form: FormData, row: Mapping[str, Any]) -> list[str]:
        """What is to be kept for a row: a password, "" for none any more, or nothing to be done. It goes
        with the user name."""
        if not self.is_ours(row):
            return []
        password = form.get("password")
        is_unneeded = bool(row.get(PASSWORD)) and not (row.get("username") or row.get("user"))
        if form.get("remove-password") or is_unneeded:
            return [""]
        return [password] if isinstance(password, str) and password else []

    def words(self, row: Mapping[str, Any], saved: Sequence[Any]) -> SecretWords:
        """For the page."""
        path = row.get(PASSWORD)
        if not path:
            return SecretWords("None is set.", is_ours=True, is_set=False)
        if not self.is_ours(row):
            words = f"A password is set: cmail.toml names the file {path} for it, and there it is changed."
            return SecretWords(words, is_ours=False, is_set=True)
        is_saved = any(isinstance(each, Mapping) and each.get(PASSWORD) == path for each in saved)
        words = "A password is set." if is_saved else "A new password is set; it is not saved yet."
        return SecretWords(words, is_ours=True, is_set=True)

    def read(self, row: Mapping[str, Any]) -> str:
        """One that was typed; "" for none. Blocks."""
        if not row.get(PASSWORD) or not self.is_ours(row):
            return ""
        try:
            with open(str(row[PASSWORD]), encoding="utf-8") as file:
                return file.read(_OCTETS_MAX).removesuffix("\n")
        except (OSError, ValueError):
            return ""
