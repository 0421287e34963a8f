# SPDX-License-Identifier: GPL-2.0-or-later
"""The module under test: built from its directory, loaded, its I2C client instantiated, all of it undone afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dmasafe import kernel as kernels
from dmasafe.atomic import publish
from dmasafe.kernel.config import find_architecture
from dmasafe.kernel.process import query
from dmasafe.kernel.tools import cross_prefix
from dmasafe.pytest_plugin.dmesg import Dmesg
from dmasafe.pytest_plugin.errors import PluginError, plainly
from dmasafe.pytest_plugin.guest import Guest

# Frames get their lines from it; what goes into the guest is stripped.
_CFLAGS = ("-g",)
_I2C = "/sys/bus/i2c/devices"


@dataclass
class LoadedModule:
    """A module in the guest. ``client`` is its I2C client's directory in sysfs, empty without a client."""

    name: str
    guest: Guest
    client: str = ""
    adapter: int = -1
    address: int = -1
    loaded: bool = field(default=True)

    def read(self, attribute: str) -> str:
        """An attribute of the client's in sysfs. Raises OSError with the driver's errno."""
        __tracebackhide__ = True
        return self.guest.read(f"{self.client}/{attribute}")

    def write(self, attribute: str, value: str) -> None:
        """One write to an attribute of the client's. Raises OSError with the driver's errno."""
        __tracebackhide__ = True
        self.guest.write(f"{self.client}/{attribute}", value)

    @property
    def bound(self) -> bool:
        """Whether a driver has the client."""
        return bool(self.client) and "driver" in self.guest.listdir(self.client)

    @plainly
    def unload(self) -> None:
        """Remove the client and the module; what the driver does on leaving is then in the log."""
        __tracebackhide__ = True
        if not self.loaded:
            return
        self.loaded = False
        if self.client:
            self.guest.write(f"{_I2C}/i2c-{self.adapter}/delete_device", f"{self.address:#x}")
        self.guest.unload(self.name)


class ModuleLoader:
    """``dmasafe_module``: see __call__."""

    def __init__(self, kernel: kernels.Kernel, guest: Guest, dmesg: Dmesg, directory: Path) -> None:
        self._kernel = kernel
        self._guest = guest
        self._dmesg = dmesg
        self._directory = directory
        self.loaded: list[LoadedModule] = []
        # Module name -> its object with debug information; what paths in it begin with -> what the user knows them by.
        self.objects: dict[str, Path] = {}
        tree = (kernel.build_dir / "source").resolve()
        self.places: dict[str, str] = {f"{tree}/": ""}

    @plainly
    def __call__(
        self,
        directory: Path | str,
        *,
        device: str | None = None,
        address: int | None = None,
        adapter: str = "dmasafe",
        params: str = "",
        name: str | None = None,
        must_bind: bool = True,
    ) -> LoadedModule:
        """Build the external module in ``directory`` (Kbuild file; relative to the test's file) and load it.

        With ``address`` an I2C client ``device`` (the module's name if not given) is made there on ``adapter``;
        ``must_bind`` fails the test if no driver takes it. ``name`` chooses among several modules of the directory.
        """
        __tracebackhide__ = True
        source = (self._directory / directory).resolve()
        if not source.is_dir():
            raise PluginError(f"there is no module directory {source}")
        module = self._built(source, name)
        self._guest.load(self._stripped(module), params)
        loaded = LoadedModule(module.stem.replace("-", "_"), self._guest)
        self.loaded.append(loaded)
        self._dmesg.modules.add(loaded.name)
        if address is not None:
            self._instantiate(loaded, device or module.stem, adapter, address, must_bind)
        return loaded

    def unload_all(self) -> list[str]:
        """Unload what is still loaded, the last first; what went wrong, in sentences."""
        wrong = []
        for module in reversed(self.loaded):
            try:
                module.unload()
            except OSError as error:
                wrong.append(f"{module.name} cannot be unloaded: {error.strerror}")
        return wrong

    def _built(self, source: Path, name: str | None) -> Path:
        store = kernels.open_cache()
        modules = kernels.build_modules(self._kernel, source, store, cflags=_CFLAGS)
        for module in modules:
            self.objects[module.stem.replace("-", "_")] = module
            copy = next(parent for parent in module.parents if parent.name == "src" and _is_home(parent.parent))
            self.places[f"{copy}/"] = f"{source}/"
            self._dmesg.places += (f"{source}/",)
        found = [module for module in modules if name is None or module.stem == name]
        if len(found) != 1:
            there = ", ".join(module.stem for module in modules)
            raise PluginError(f"{source} has the modules {there}: choose one with name=")
        return found[0]

    def _stripped(self, module: Path) -> Path:
        """The module without debug information, beside it: a tenth of the bytes."""
        stripped = module.with_suffix(".stripped") / module.name
        if not stripped.exists():
            stripped.parent.mkdir(exist_ok=True)
            prefix = cross_prefix(find_architecture(self._kernel.arch))
            # Another worker may be at it.
            with publish(stripped) as made:
                query([f"{prefix}strip", "--strip-debug", "-o", str(made), str(module)])
        return stripped

    def _instantiate(self, module: LoadedModule, device: str, adapter: str, address: int, must_bind: bool) -> None:
        number = self._guest.adapters.get(adapter)
        if number is None:
            there = ", ".join(sorted(self._guest.adapters))
            raise PluginError(f"this guest has no adapter {adapter}: it has {there}")
        self._guest.write(f"{_I2C}/i2c-{number}/new_device", f"{device} {address:#x}")
        module.client = f"{_I2C}/{number}-{address:04x}"
        module.adapter, module.address = number, address
        if must_bind and not module.bound:
            raise PluginError(f"no driver took the client {device} at {address:#04x}: see the kernel's log below")


def _is_home(directory: Path) -> bool:
    """Whether this is build_modules()'s directory of one build."""
    return (directory / "modules.json").is_file()
