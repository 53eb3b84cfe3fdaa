"""The quarantine into a backup while messages come to it from the drop folder, and leave it for the queue.

A message there is a folder that gets its name, and loses it, as a whole: what has lost its name while we
copied it is in the queue, or a person has deleted it."""

import os
import shutil

from cmail.storage.backup_copy import Copier
from cmail.storage.quarantine import FOLDER


class QuarantineCopy:
    """Copies DATA/quarantine, each message when it is first seen there; it stays in the copy."""

    def __init__(self, copier: Copier, data_dir: str) -> None:
        self._copier, self._data_dir = copier, data_dir
        self._done: set[str] = set()  # their names: few enough for a person to go through

    def look(self) -> None:
        """Copy all that is there, as far as it is new."""
        folder = os.path.join(self._data_dir, FOLDER)
        if os.path.islink(folder):
            self._copier.open(folder)  # which says that it is left out
            return
        for name in _names(folder):
            if name not in self._done and not name.startswith("."):  # a dot: not whole yet, or going
                self._copy(os.path.join(FOLDER, name))
                self._done.add(name)

    def _copy(self, name: str) -> None:
        source = os.path.join(self._data_dir, name)
        is_folder = os.path.isdir(source) and not os.path.islink(source)
        self._copier.make_folder(name if is_folder else FOLDER)
        files = [os.path.join(name, each) for each in _names(source)] if is_folder else [name]
        copies = [(file, self._copier.copy(os.path.join(self._data_dir, file), file)) for file in files]
        if is_folder and not os.path.isdir(source):
            shutil.rmtree(self._copier.path(name))
            return
        for folder in (FOLDER, name) if is_folder else (FOLDER,):
            self._copier.list_folder(folder)
        for file, copied in copies:
            if copied is not None:
                self._copier.list_file(file, *copied)


def _names(folder: str) -> list[str]:
    """What is in it, the facts of a message first: so they are never ahead of a repair of its content."""
    try:
        return sorted(os.listdir(folder), key=lambda name: (not name.startswith("facts"), name))
    except FileNotFoundError:
        return []
