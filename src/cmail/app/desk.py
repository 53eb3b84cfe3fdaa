"""FileDesk: the draft of the settings, its check, Save Settings and the versions that were saved before.

Of a file that is edited by hand while somebody drafts, what both have changed is asked about."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from cmail.app.catalog import Setting, Table, read_catalog
from cmail.app.desk_draft import KeptDraft
from cmail.app.desk_file import SettingsFile
from cmail.app.desk_secrets import (
    SMTP,
    Secrets,
    brought_back,
    fault_of,
    faults_of_rows,
    named_in,
    put,
)
from cmail.app.desk_values import (
    Raw,
    all_settings,
    columns_of,
    default_of,
    is_about,
    is_plain,
    is_tables,
    kind_of,
    names_new_path,
    print_change,
    print_raw,
    raw_of,
)
from cmail.app.desk_versions import Versions
from cmail.app.settings import Settings
from cmail.app.toml_edit import ABSENT, edit
from cmail.net.control import ControlError
from cmail.observe import maillog
from cmail.web.desk import Change, Conflict, DraftError, Problem, Saved, SettingView

# They name a program or a path: set in the file, never by page or API.
_PATHS: Final = "tls.certificate_file tls.key_file tls.ca_file smtp.password_file log.file host.data_dir"
FILE_ONLY: Final = frozenset([*_PATHS.split(), "host.user"])
_FILE_WORDS: Final = "it names a path or a program: it can be set in the file only"
AT_RESTART: Final = frozenset(
    "host.data_dir host.user host.workers admin.address limits.free_space log.file log.format".split()
)
NO_SECRETS: Final[Mapping[str, str]] = {}


class FileDesk:
    """See web.desk.Desk. One admin process has it; all of it runs in its event loop."""

    def __init__(
        self, config: str, data_dir: str, apply: Callable[[], Awaitable[object]], reach: str = ""
    ) -> None:
        """`apply` has the running server read its settings anew (ControlError when it does not). `reach`: the
        file as we get to it, where that is not by its path."""
        folder = os.path.join(data_dir, "admin")
        self._secrets = Secrets(data_dir)
        self._apply = apply
        self._catalog = read_catalog(Settings)
        self._file = SettingsFile(config, Versions(os.path.join(folder, "versions")), reach)
        self._draft = KeptDraft(folder, frozenset(key for key, _ in all_settings(self._catalog)))
        self._is_saving = asyncio.Lock()

    # What there is.

    def settings(self) -> Mapping[str, SettingView]:
        """As the contract says."""
        raw = self._file.raw()
        errors = {problem.key: problem.reason for problem in self.problems()} if self._draft.values else {}
        return {key: self._view(key, setting, raw, errors) for key, setting in all_settings(self._catalog)}

    def _view(
        self, key: str, setting: Setting | Table, raw: Mapping[str, Raw], errors: Mapping[str, str]
    ) -> SettingView:
        default = default_of(setting)
        saved = raw.get(key, default)
        drafted = self._draft.values.get(key, saved)
        value = default if drafted is ABSENT else drafted
        kind, choices, unit, element = kind_of(setting)
        return SettingView(
            key,
            value,
            saved,
            default,
            kind,
            choices,
            unit,
            setting.sentence,
            is_in_file=key in raw,
            is_changed=value != saved,
            is_at_restart=key in AT_RESTART,
            is_file_only=key in FILE_ONLY,
            error=errors.get(key, ""),
            element_kind=element,
            columns=columns_of(setting) if isinstance(setting, Table) else (),
        )

    def changes(self) -> Sequence[Change]:
        """As the contract says."""
        raw = self._file.raw() if self._draft.values else {}
        return [
            Change(key, *print_change(raw.get(key, ABSENT), value))
            for key, value in self._draft.values.items()
            if value != raw.get(key, ABSENT)
        ]

    def problems(self) -> Sequence[Problem]:
        """As the contract says."""
        try:
            self._file.check(self._file.text_with(self._draft.values))
        except DraftError as error:
            return error.problems
        return ()

    def conflicts(self) -> Sequence[Conflict]:
        """As the contract says."""
        raw = self._file.raw() if self._draft.values else {}
        return [
            Conflict(key, print_raw(self._draft.base[key]), print_raw(raw.get(key, ABSENT)), print_raw(value))
            for key, value in self._draft.values.items()
            if raw.get(key, ABSENT) not in (self._draft.base[key], value)
        ]

    # The draft.

    def change(self, values: Mapping[str, Any], by: str, secrets: Mapping[str, str] = NO_SECRETS) -> None:
        """As the contract says."""
        new, kept, wrong = self._with_secrets(values, secrets)
        if wrong := [*self._refusals(values), *wrong]:
            raise DraftError(wrong)
        self._take(new, kept)

    def _refusals(self, values: Mapping[str, Any]) -> list[Problem]:
        """What cannot be set here, whatever else is right with it."""
        known = dict(all_settings(self._catalog))
        wrong = [Problem(key, "there is no such setting") for key in values if key not in known]
        for key, value in values.items():
            before = [self._file.raw().get(key), self._draft.values.get(key)]
            wrong += faults_of_rows(key, value, before, _FILE_WORDS)
            if key in FILE_ONLY or (key in known and names_new_path(value, before)):
                wrong.append(Problem(key, _FILE_WORDS, is_file_only=True))
        for key, value in values.items():
            if isinstance(known.get(key), Table) and not is_tables(value):
                wrong.append(Problem(key, "is a list of tables"))
            elif isinstance(known.get(key), Setting) and not is_plain(value):
                wrong.append(Problem(key, "is one value or a list of them: no table, and no null in it"))
        return wrong

    def reset(self, keys: Sequence[str], by: str) -> None:
        """As the contract says."""
        known = dict(all_settings(self._catalog))
        if unknown := [key for key in keys if key not in known or key in FILE_ONLY]:
            raise DraftError([Problem(key, "there is no such setting") for key in unknown])
        self._take(dict.fromkeys(keys, ABSENT))

    def _take(self, values: Mapping[str, Raw], kept: Mapping[str, str] = NO_SECRETS) -> None:
        """Into the draft; `kept`: passwords by their paths, which are written when nothing is wrong."""
        raw = self._file.raw()
        draft = {**self._draft.values, **values}
        known = dict(all_settings(self._catalog))
        for key, value in values.items():
            is_default = value is not ABSENT and value == default_of(known[key])
            if (is_default and key not in raw) or value == raw.get(key, ABSENT):
                del draft[key]
            elif is_default and self._draft.values.get(key) is ABSENT:
                draft[key] = ABSENT  # Reset before: a form that shows the default does not write it down
        problems = self._problems_of_types({key: draft[key] for key in values if key in draft})
        if problems:
            raise DraftError(problems)
        for path, text in kept.items():
            self._secrets.write(path, text)
        base = {key: self._draft.base.get(key, raw.get(key, ABSENT)) for key in draft}
        self._set(draft, base)

    def _problems_of_types(self, values: Mapping[str, Raw]) -> list[Problem]:
        """Of these values by themselves, unless the rest of the draft makes them right; what else they mean
        together is seen by the check of the whole."""
        alone = [p for p in self._problems_with(values) if is_about(p.key, values)]
        if not alone or not self._draft.values:
            return alone
        together = {p.key for p in self._problems_with({**self._draft.values, **values})}
        return [p for p in alone if p.key in together]

    def _problems_with(self, values: Mapping[str, Raw]) -> Sequence[Problem]:
        try:
            self._file.check(self._file.text_with(values))
        except DraftError as error:
            return error.problems
        return ()

    def _set(self, draft: dict[str, Raw], base: dict[str, Raw]) -> None:
        self._draft.keep(draft, base)
        self._sweep()

    def discard(self) -> None:
        """As the contract says."""
        self._set({}, {})

    def keep_secret(self, key: str, text: str, by: str) -> None:
        """As the contract says."""
        new, kept, wrong = self._with_secrets({}, {key: text})
        if wrong:
            raise DraftError(wrong)
        self._take(new, kept)

    def _with_secrets(
        self, values: Mapping[str, Any], secrets: Mapping[str, str]
    ) -> tuple[dict[str, Raw], dict[str, str], list[Problem]]:
        """The values with the places of these passwords, the passwords by their places, what cannot be."""
        new, kept, wrong = dict(values), {}, []
        for key, text in secrets.items():
            try:
                path = self._secrets.place(key) if text else ""
            except KeyError:
                wrong.append(Problem(key, "there is no password for that"))
                continue
            if fault := fault_of(key, text):
                wrong.append(fault)
            elif key == SMTP:
                new[key] = path or ABSENT
            elif not put(new, key, path):
                wrong.append(Problem(key, "there is no such row"))
            if path:
                kept[path] = text
        return new, kept, wrong

    def _sweep(self) -> None:
        """Passwords of rows that are gone from the file and the draft."""
        try:
            self._secrets.sweep([*named_in(self._file.raw()), *named_in(self._draft.values)])
        except (
            DraftError,
            OSError,
        ) as error:  # the file cannot be read just now, or the folder not be written
            maillog.warned(f"passwords that nothing needs any more are left: {error}")

    # Save Settings.

    async def save(self, by: str, keep: Mapping[str, str]) -> Sequence[str]:
        """As the contract says."""
        async with self._is_saving:
            undecided = [c for c in self.conflicts() if keep.get(c.key) not in ("ours", "theirs")]
            if undecided:
                raise DraftError(conflicts=undecided)
            theirs = [c.key for c in self.conflicts() if keep.get(c.key) == "theirs"]
            draft = {key: value for key, value in self._draft.values.items() if key not in theirs}
            changes = [change for change in self.changes() if change.key in draft]
            text = self._file.text_with(draft)
            self._file.check(text)
            await asyncio.to_thread(self._file.write, text, by, changes)
            self._set({}, {})
            return await self._applied(changes)

    async def save_values(
        self, values: Mapping[str, Any], secrets: Mapping[str, str], by: str, wrong: Sequence[Problem] = ()
    ) -> Saved:
        """As the contract says."""
        async with self._is_saving:
            wrong = [*wrong, *self._refusals(values)]
            meant = {key: ABSENT if value is None else value for key, value in values.items()}
            new, kept, faults = self._with_secrets(meant, secrets)
            wrong += faults
            text = self._checked_text(new, wrong)
            before, after = self._file.raw(), raw_of(text)
            changes = [
                Change(key, *print_change(before.get(key, ABSENT), after.get(key, ABSENT)))
                for key in new
                if before.get(key, ABSENT) != after.get(key, ABSENT)
            ]
            if not changes:
                return Saved((), (), is_applied=True)
            for path, secret in kept.items():
                await asyncio.to_thread(self._secrets.write, path, secret)
            await asyncio.to_thread(self._file.write, text, by, changes)
            self._sweep()
            notes, is_applied = await self._apply_now(changes)
            return Saved(changes, notes, is_applied)

    def _checked_text(self, values: Mapping[str, Raw], wrong: Sequence[Problem]) -> str:
        """The file with these values. DraftError has what is wrong already, and what else is."""
        meant = {key: value for key, value in values.items() if not any(p.key == key for p in wrong)}
        problems = list(wrong)
        try:
            text = self._file.text_with(meant)
            self._file.check(text)
        except DraftError as error:
            problems += error.problems
        if problems:
            raise DraftError(problems)
        return text

    async def bring_back(self, number: int, by: str) -> Sequence[str]:
        """As the contract says."""
        async with self._is_saving:
            text, said = self._with_todays_passwords(self._file.versions.text(number))
            self._file.check(text)
            before, after = self._file.raw(), raw_of(text)
            changes = [
                Change(key, *print_change(before.get(key, ABSENT), after.get(key, ABSENT)))
                for key, _ in all_settings(self._catalog)
                if before.get(key, ABSENT) != after.get(key, ABSENT)
            ]
            await asyncio.to_thread(self._file.write, text, by, changes)
            self._sweep()
            return [*said, *await self._applied(changes)]

    def _with_todays_passwords(self, text: str) -> tuple[str, list[str]]:
        """A version names passwords that were changed since; words on that. DraftError: one is gone."""
        changed, wrong = brought_back(self._secrets, raw_of(text), self._file.raw())
        if wrong:
            raise DraftError(wrong)
        if not changed:
            return text, []
        return edit(text, changed), [
            f"{', '.join(changed)}: passwords that were changed since stay as they are."
        ]

    def versions(self) -> Sequence[Any]:
        """As the contract says."""
        return self._file.versions.all()

    async def _applied(self, changes: Sequence[Change]) -> list[str]:
        notes, _ = await self._apply_now(changes)
        return notes

    async def _apply_now(self, changes: Sequence[Change]) -> tuple[list[str], bool]:
        """Words on what takes effect later, and whether the running server has the rest."""
        said = [
            f"{change.key} takes effect when the server is started again."
            for change in changes
            if change.key in AT_RESTART
        ]
        try:
            await self._apply()
        except ControlError as error:
            words = f"The file is written, but the server did not take it over: {error.words}"
            return [*said, words], False
        return said, True
