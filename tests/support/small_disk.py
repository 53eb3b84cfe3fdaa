"""SmallDisk: a file system of its own that a test can fill (a tmpfs; only root can mount one)."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self


class SmallDisk:
    """Mounted on a folder as long as the with-block. `size` as mount(8) writes it: "24m"."""

    def __init__(
        self, folder: Path, size: str, *, owner: int = 0, mode: str = "0755", inodes: int = 0
    ) -> None:
        self.folder = folder
        self._options = f"size={size},uid={owner},mode={mode}" + (f",nr_inodes={inodes}" if inodes else "")

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, self.folder], check=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", self._options, "tmpfs", self.folder], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def resize(self, size: str) -> None:
        """More room, or less."""
        self._mount("-o", f"remount,size={size}")

    @contextmanager
    def without_inodes(self) -> Iterator[None]:
        """No file can be made as long as the block lasts."""
        while not self._take_inodes():
            pass  # somebody made a file meanwhile: fewer than there are cannot be had
        try:
            yield
        finally:
            self._mount("-o", "remount,nr_inodes=100000")

    def _take_inodes(self) -> bool:
        found = os.statvfs(self.folder)
        options = f"remount,nr_inodes={found.f_files - found.f_ffree}"
        command = ["mount", "-o", options, str(self.folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    @contextmanager
    def unmounted(self) -> Iterator[None]:
        """Unmounted under whoever has files open there (`umount --lazy`), and mounted again: below the
        mount point there is an empty folder meanwhile."""
        aside = self.folder.with_name(f"{self.folder.name}-aside")
        aside.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", self.folder, aside], check=True)
        try:
            subprocess.run(["umount", "--lazy", self.folder], check=True)
            yield
        finally:
            subprocess.run(["mount", "--bind", aside, self.folder], check=True)
            subprocess.run(["umount", aside], check=True)

    def read_only(self, is_read_only: bool = True) -> None:
        """Remount it; the kernel refuses while a file on it is open for writing."""
        self._mount("-o", "remount,ro" if is_read_only else "remount,rw")

    def free(self) -> int:
        """Octets that are left."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Take all but so many octets."""
        with open(self.folder / "filler", "ab", buffering=0) as file:
            while (octets := min(self.free() - leave, 1 << 20)) > 0:
                try:
                    file.write(bytes(octets))
                except OSError:
                    return

    def empty(self) -> None:
        """Give back what fill() took."""
        (self.folder / "filler").unlink()
