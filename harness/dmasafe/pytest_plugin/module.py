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
class Client:
    """An I2C client in the guest. ``path`` is its directory in sysfs."""

    guest: Guest
    device: str
    adapter: int
    address: int

    @property
    def path(self) -> str:
        return f"{_I2C}/{self.adapter}-{self.address:04x}"

    def read(self, attribute: str) -> str:
        """An attribute in sysfs. Raises OSError with the driver's errno."""
        __tracebackhide__ = True
        return self.guest.read(f"{self.path}/{attribute}")

    def write(self, attribute: str, value: str) -> None:
        """One write to an attribute. Raises OSError with the driver's errno."""
        __tracebackhide__ = True
        self.guest.write(f"{self.path}/{attribute}", value)

    @property
    def bound(self) -> bool:
        """Whether a driver has the client."""
        return "driver" in self.guest.listdir(self.path)


@dataclass
class LoadedModule:
    """A module in the guest. ``clients`` are those that were made for it; what is asked of itself is the first's."""

    name: str
    guest: Guest
    device: str
    clients: list[Client] = field(default_factory=list)
    loaded: bool = field(default=True)

    @property
    def client(self) -> str:
        """The first client's directory in sysfs, empty without a client."""
        return self.clients[0].path if self.clients else ""

    def read(self, attribute: str) -> str:
        """See Client."""
        __tracebackhide__ = True
        return self._first().read(attribute)

    def write(self, attribute: str, value: str) -> None:
        """See Client."""
        __tracebackhide__ = True
        self._first().write(attribute, value)

    @property
    def bound(self) -> bool:
        """Whether a driver has the first client."""
        return bool(self.clients) and self.clients[0].bound

    @plainly
    def add_client(
        self, address: int, *, device: str | None = None, adapter: str = "dmasafe", must_bind: bool = True
    ) -> Client:
        """Make another I2C client for the module. The arguments are those of ``dmasafe_module()``."""
        __tracebackhide__ = True
        number = self.guest.adapters.get(adapter)
        if number is None:
            there = ", ".join(sorted(self.guest.adapters))
            raise PluginError(f"this guest has no adapter {adapter}: it has {there}")
        client = Client(self.guest, device or self.device, number, address)
        self.guest.write(f"{_I2C}/i2c-{number}/new_device", f"{client.device} {address:#x}")
        self.clients.append(client)
        if must_bind and not client.bound:
            raise PluginError(
                f"no driver took the client {client.device} at {address:#04x}: see the kernel's log below"
            )
        return client

    @plainly
    def unload(self) -> None:
        """Remove the clients and the module; what the driver does on leaving is then in the log."""
        __tracebackhide__ = True
        if not self.loaded:
            return
        self.loaded = False
        for client in reversed(self.clients):
            self.guest.write(f"{_I2C}/i2c-{client.adapter}/delete_device", f"{client.address:#x}")
        self.guest.unload(self.name)

    @plainly
    def _first(self) -> Client:
        __tracebackhide__ = True
        if not self.clients:
            raise PluginError(f"{self.name} has no I2C client: give dmasafe_module() an address, or call add_client()")
        return self.clients[0]


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
        self.places: dict[str, str] = {kernels.written_below(kernel.build_dir / "source"): ""}

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
        ``must_bind`` fails the test if no driver takes it. ``name`` chooses among several modules of the directory;
        one that needs another is loaded after it. ``params`` is what follows ``insmod MODULE``.
        """
        __tracebackhide__ = True
        source = (self._directory / directory).resolve()
        module = self._built(source, name)
        loaded = LoadedModule(module.stem.replace("-", "_"), self._guest, device or module.stem)
        if any(other.name == loaded.name and other.loaded for other in self.loaded):
            raise PluginError(
                f"{loaded.name} is loaded already: add_client() of what dmasafe_module() gave makes another client"
            )
        self._guest.load(self._stripped(module), params)
        self.loaded.append(loaded)
        self._dmesg.modules.add(loaded.name)
        if address is not None:
            loaded.add_client(address, adapter=adapter, must_bind=must_bind)
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
            self.places[kernels.written_below(copy)] = f"{source}/"
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


def _is_home(directory: Path) -> bool:
    """Whether this is build_modules()'s directory of one build."""
    return (directory / "modules.json").is_file()
