"""SetupFile: the settings file as `cmail setup` changes it: checked, written, its comments kept."""

import os
import time
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cmail.admin import setup
from cmail.admin.setup import Answers
from cmail.app.catalog import read_catalog
from cmail.app.config import load_text, read
from cmail.app.desk_values import all_settings, default_of, print_raw, raw_of
from cmail.app.desk_versions import Versions
from cmail.app.settings import Settings
from cmail.app.starter import starter_data_dir, starter_text
from cmail.app.toml_edit import ABSENT, edit
from cmail.cli.exits import Exit, Refusal
from cmail.cli.owner import OwnerRights
from cmail.cli.place import Place
from cmail.storage import durable
from cmail.web.desk import Change

_UPSTREAM: Final = ("smtp.host", "smtp.port", "smtp.tls", "smtp.username")
_PASSWORD_KEY: Final = "smtp.password_file"
_BY: Final = "cmail setup"


class SetupFile:
    """One settings file; where there is none yet it begins with the starter's."""

    def __init__(self, path: str) -> None:
        """SettingError: there is one, and it cannot be read."""
        self.path = path
        self._is_there = os.path.exists(path)
        self.text = read(path) if self._is_there else starter_text(starter_data_dir(path))
        settings = load_text(self.text, path, is_machine_checked=False)
        self.data_dir = settings.host.data_dir
        self.dns_servers, self.ca_file = settings.dns.servers, settings.tls.ca_file
        known = dict(all_settings(read_catalog(Settings)))
        raw = raw_of(self.text)
        self.values: Mapping[str, Any] = {key: raw.get(key, default_of(known[key])) for key in known}
        self.listeners: Sequence[Mapping[str, Any]] = self.values["listener"]

    @property
    def is_new(self) -> bool:
        """Whether nobody has set up anything yet."""
        return setup.is_new(str(self.values["host.hostname"]), self.values["host.domains"])

    def place(self) -> Place:
        """Where things are."""
        return Place(self.path, self.data_dir, tables=tomllib.loads(self.text))

    def text_with(self, answers: Answers, listeners: Sequence[Mapping[str, Any]]) -> str:
        """The file with the answers in it, but for the password. SettingError: it cannot be used."""
        now = {key: self.values[key] for key in _UPSTREAM}
        wanted = {**now, **setup.settings_of(answers), "listener": [dict(each) for each in listeners]}
        if answers.way_out != "host" or not answers.username:
            wanted[_PASSWORD_KEY] = ""
        raw = raw_of(self.text)
        changed = {
            key: value
            for key, value in wanted.items()
            if value != raw.get(key, ABSENT) and not (key not in raw and value == self.values[key])
        }
        text = edit(self.text, changed)
        load_text(text, self.path)
        return text

    def changes(self, text: str) -> list[tuple[str, str, str]]:
        """Key, old and new, as they stand in the file."""
        before, after = raw_of(self.text), raw_of(text)
        keys = [key for key in self.values if before.get(key, ABSENT) != after.get(key, ABSENT)]
        return [(key, print_raw(before.get(key, ABSENT)), print_raw(after.get(key, ABSENT))) for key in keys]

    def save(self, text: str, answers: Answers) -> None:
        """Write it, and the password where only the server can read it; the data folder is there."""
        owner = os.stat(self.data_dir)
        with OwnerRights(owner.st_uid, owner.st_gid).owner():
            versions = Versions(os.path.join(self.data_dir, "admin", "versions"))
            if self._is_there:
                versions.keep(self.text, "", ())
            if answers.username and answers.smtp_password and answers.way_out == "host":
                text = edit(text, {_PASSWORD_KEY: self._keep_secret(answers.smtp_password)})
            versions.keep(text, _BY, [Change(*change) for change in self.changes(text)])
        self._write(text)

    def open_later(self, listeners: Sequence[Mapping[str, Any]]) -> None:
        """Write these too, for the next start."""
        self._write(edit(self.text, {"listener": [dict(each) for each in listeners]}))

    def _keep_secret(self, password: str) -> str:
        folder = os.path.join(self.data_dir, "secrets")
        durable.make_folder(folder)
        path = os.path.join(folder, f"smtp-password-{time.time_ns():x}")
        durable.write_new(path, password.encode() + b"\n")
        durable.sync_folder(folder)
        return path

    def _write(self, text: str) -> None:
        """It keeps its rights and its owner."""
        folder = os.path.dirname(os.path.abspath(self.path))
        try:
            os.makedirs(folder, exist_ok=True)
            before = os.stat(self.path) if self._is_there else None
            durable.write_durably(self.path, text.encode(), before.st_mode & 0o777 if before else 0o644)
            if before is not None and os.geteuid() == 0:
                os.chown(self.path, before.st_uid, before.st_gid)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise Refusal(f"{self.path} cannot be written: {reason}", Exit.CANNOT_CREATE) from None
        self.text, self._is_there = text, True
