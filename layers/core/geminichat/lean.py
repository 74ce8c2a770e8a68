"""SDKs imported without those parts of them that we never use.

An SDK's module imports many others at once. What of these is never called here costs a cold start
its time all the same: botocore's client under PynamoDB, httpx and asyncio under upstash-redis,
JMESPath under Powertools' Logger. `without` leaves them out for the length of an import, and puts
in their place a module that becomes the real one as soon as anything of it is asked for. Nothing
of a package is changed, and whoever imports such a module afterwards gets the real one.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _Absent(ModuleType):
    """Stands for a module that was left out; what is asked of it, the real one answers."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def without(modules: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Leave modules out while the block imports; each with names that it is to have even so.

    A module that somebody has imported before stays what it is.
    """
    absent = []
    for name, given in modules.items():
        if name not in sys.modules:
            module = _Absent(name)
            vars(module).update(given)
            absent.append(module)
            sys.modules[name] = module
            _bind(name, module)
    try:
        yield
    finally:
        for module in absent:
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]
                _unbind(module.__name__, module)


def _bind(name: str, module: ModuleType) -> None:
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)


def _unbind(name: str, module: ModuleType) -> None:
    parent, _, child = name.rpartition(".")
    if parent in sys.modules and getattr(sys.modules[parent], child, None) is module:
        delattr(sys.modules[parent], child)
