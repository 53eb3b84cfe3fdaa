"""ThinNet: a Net with links of a rate and a delay of their own, made of the wire of `make bench-link`."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, Final

from tests.support.netns import Net, _run

_WIRE: Final = Path(__file__).parents[2] / "bench" / "link" / "wire.py"


class ThinNet(Net):
    """`wire = net.thin("sat0", kbit=256, round_trip_ms=700)`: it is up, the default route goes by it; then
    wire.down(), wire.up(), wire.counts()."""

    def __init__(self) -> None:
        super().__init__()
        self._thin: list[Any] = []
        self._devices: list[int] = []

    def __exit__(self, *exc: object) -> None:
        for wire in self._thin:
            wire.close()
        for device in self._devices:
            os.close(device)
        super().__exit__(*exc)

    def thin(self, name: str, *, kbit: float, round_trip_ms: float) -> Any:
        """Begin before any thread: a process of its own moves the packets."""
        kinds = _load()
        net = self._wires[name] = f"10.{len(self._wires) + 1}.0"
        ends: list[int] = []
        for place, last in ((self.here_name, 1), (self.there_name, 2)):
            made = f"cm{os.getpid()}t{len(self._devices) + len(ends)}"  # other tests make a sat0 at the same time
            ends.append(kinds.open_device(made))
            _run("ip", "link", "set", made, "netns", place, "name", name)
            side = self.here if last == 1 else self.there
            side("addr", "add", f"{net}.{last}/24", "dev", name)
            side("link", "set", name, "up")
        self._devices += ends
        wire = kinds.Wire(kinds.Kind(kbit, round_trip_ms), tuple(ends))
        self._thin.append(wire)
        wire.up()
        self.route(name)
        return wire


def _load() -> Any:
    if "cmail_bench_wire" not in sys.modules:
        spec = importlib.util.spec_from_file_location("cmail_bench_wire", _WIRE)
        assert spec is not None and spec.loader is not None
        module = sys.modules["cmail_bench_wire"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["cmail_bench_wire"]
