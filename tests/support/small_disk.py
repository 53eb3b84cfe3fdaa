"""SmallDisk: a file system of its own that a test can fill (a tmpfs; only root can mount one)."""

import os
import subprocess
from pathlib import Path
from typing import Self


class SmallDisk:
    """Mounted on a folder as long as the with-block. `size` as mount(8) writes it: "24m"."""

    def __init__(
        self, folder: Path, size: str, *, owner: int = 0, mode: str = "0755", inodes: int = 0
    ) -> None:
        self.folder = folder
        self._options = f"size={size},uid={owner},mode={mode}" + (f",nr_inodes={inodes}" if inodes else "")

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", self._options, "tmpfs", self.folder], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def resize(self, size: str) -> None:
        """More room, or less."""
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)

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
