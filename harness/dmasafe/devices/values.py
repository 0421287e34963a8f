# SPDX-License-Identifier: GPL-2.0-or-later
"""Slaves on their way to the device's process, and their state on its way back: JSON, no pickle.

An object is its class's import path and its attributes. Classes are imported in the device's process only; on the way
back values are put into objects that are there already.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from dmasafe.devices.errors import SlaveError
from dmasafe.devices.slaves.catalogue import chips

_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_PLAIN = (type(None), bool, int, float, str)


def describe(slave: object) -> Any:
    """What makes this slave elsewhere: an object, a class, functools.partial(class, ...), "module:Class", or a chip's
    name (slaves/catalogue.py).

    Raises SlaveError with what is wrong about it.
    """
    if isinstance(slave, str):
        return {"make": slave, "arguments": [], "keywords": encode({})}
    if isinstance(slave, type):
        return {"make": import_path(slave), "arguments": [], "keywords": encode({})}
    if isinstance(slave, partial):
        arguments = [encode(value) for value in slave.args]
        return {"make": import_path(slave.func), "arguments": arguments, "keywords": encode(slave.keywords)}
    return encode(slave)


def make(description: Any) -> Any:
    """The other end of describe(): imports, calls. Raises SlaveError."""
    if not isinstance(description, dict) or "make" not in description:
        return decode(description, find)
    arguments = [decode(value, find) for value in description["arguments"]]
    return find(description["make"])(*arguments, **decode(description["keywords"], find))


def import_path(thing: Any) -> str:
    """``module:Class``. Raises SlaveError for what no other process can import."""
    name = f"{getattr(thing, '__module__', None)}:{getattr(thing, '__qualname__', None)}"
    if not _PATH.fullmatch(name) or name.startswith("__main__:"):
        raise SlaveError(f"{thing!r:.100} cannot be imported elsewhere: define it in a module, not inside a function")
    return name


def find(path: str) -> Any:
    """Import what stands behind ``module:Class``, or a name of slaves/catalogue.py. Raises SlaveError."""
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        known = chips()
        if isinstance(path, str) and path in known:
            return known[path]
        raise SlaveError(f"{path!r:.100} is no import path: write 'module:Class', or a chip of {', '.join(known)}")
    module, _, name = path.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise SlaveError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return found


def encode(value: object) -> Any:
    """A value as JSON's types. Raises SlaveError for what is neither plain data nor an object with attributes."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return {"type": type(value).__name__, "value": value.hex()}
    if isinstance(value, tuple):
        named = {"class": import_path(type(value))} if hasattr(value, "_fields") else {}
        return {"type": "tuple", "value": [encode(item) for item in value], **named}
    if isinstance(value, deque | set | frozenset):
        return {"type": type(value).__name__, "value": [encode(item) for item in value]}
    if isinstance(value, Mapping):
        return {"type": "dict", "value": [[encode(key), encode(item)] for key, item in value.items()]}
    if hasattr(value, "__dict__") and not callable(value):
        return {"object": import_path(type(value)), "state": {k: encode(v) for k, v in vars(value).items()}}
    raise SlaveError(f"{value!r:.100} cannot be handed to another process: it is neither plain data nor an object")


def decode(value: Any, lookup: Callable[[str], Any]) -> Any:
    """The other end of encode(); ``lookup`` finds classes by their import paths. Raises SlaveError."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list):
        return [decode(item, lookup) for item in value]
    if not isinstance(value, dict):
        raise SlaveError(f"no value: {value!r:.100}")
    if "object" in value:
        cls = lookup(value["object"])
        made = cls.__new__(cls)
        vars(made).update({name: decode(item, lookup) for name, item in value["state"].items()})
        return made
    kind = value.get("type")
    inner: Any = value.get("value")
    if kind in ("bytes", "bytearray"):
        return bytes.fromhex(inner) if kind == "bytes" else bytearray.fromhex(inner)
    if kind == "dict":
        return {decode(key, lookup): decode(item, lookup) for key, item in inner}
    items = [decode(item, lookup) for item in inner]
    if "class" in value:
        return lookup(value["class"])._make(items)
    made_by: dict[Any, Callable[[list[Any]], Any]] = {
        "tuple": tuple,
        "deque": deque,
        "set": set,
        "frozenset": frozenset,
    }
    if kind not in made_by:
        raise SlaveError(f"no value: {value!r:.100}")
    return made_by[kind](items)


def update(slave: object, value: Any) -> None:
    """Give an object the attributes that its twin elsewhere has now. Raises SlaveError; imports nothing."""
    if not isinstance(value, dict) or value.get("object") != import_path(type(slave)):
        raise SlaveError(f"the state of another object than {slave!r:.100}")
    for name, item in value["state"].items():
        inner = vars(slave).get(name)
        if isinstance(item, dict) and "object" in item and inner is not None:
            update(inner, item)
        else:
            vars(slave)[name] = decode(item, _imported)


def _imported(path: str) -> Any:
    """A class that this process has imported already."""
    module, _, name = path.partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise SlaveError(f"{path} is not known here")
    return found
