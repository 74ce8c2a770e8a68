"""SDKs imported without those parts of them that we never use.

An SDK's module imports many others at once. What of these is never called here costs a cold start
its time all the same: botocore's client under PynamoDB, httpx and asyncio under upstash-redis,
JMESPath under Powertools' Logger. `without` leaves them out for the length of an import, and puts
in their place a module that becomes the real one as soon as anything of it is asked for. Nothing
of a package is changed, and whoever imports such a module afterwards gets the real one.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
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


class _Unopened(ModuleType):
    """A package whose own code has not run; it does when more is asked of it than its modules."""

    def __getattr__(self, name: str) -> Any:
        of_the_machinery = name.startswith("__") and name != "__all__"
        if of_the_machinery or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


@contextmanager
def without(
    modules: Mapping[str, Mapping[str, Any] | None], unopened: Sequence[str] = ()
) -> Iterator[None]:
    """Leave modules out while the block imports; each with names that it is to have even so.

    One that is None is as if it were not installed, and what is decided by that stays so. Of
    `unopened` packages, parents first, only the modules are imported that the block names, and not
    what the package itself would import. A module that was imported before stays what it is.
    """
    absent: dict[str, ModuleType | None] = {}
    for name, given in modules.items():
        if name not in sys.modules:
            absent[name] = None if given is None else _absent(name, given)
            sys.modules[name] = absent[name]  # type: ignore[assignment] # None: a failing import
    packages = [_unopened(name) for name in unopened if name not in sys.modules]
    for name, left_out in absent.items():
        _bind(name, left_out)
    try:
        yield
    finally:
        for name, left_out in absent.items():
            if name in sys.modules and sys.modules[name] is left_out:
                del sys.modules[name]
                _unbind(name, left_out)
        for package in packages:
            package.__class__ = _Unopened


def _absent(name: str, given: Mapping[str, Any]) -> ModuleType:
    module = _Absent(name)
    vars(module).update(given)
    return module


def _unopened(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    _bind(name, package)
    return package


def _bind(name: str, module: ModuleType | None) -> None:
    parent, _, child = name.rpartition(".")
    if module and parent in sys.modules:
        setattr(sys.modules[parent], child, module)


def _unbind(name: str, module: ModuleType | None) -> None:
    parent, _, child = name.rpartition(".")
    if module and parent in sys.modules and getattr(sys.modules[parent], child, None) is module:
        delattr(sys.modules[parent], child)
