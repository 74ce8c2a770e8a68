"""Imports of four libraries without modules that are never used here, which slow cold starts down.

An SDK's module imports many others. While a `with` block imports a library, each module that it is
to do without is replaced by a placeholder, which loads the real module when more is asked of it
than the given names. No package is changed, and a later import gets the real module. README.md
says what each block saves, and how to do without it.

Python 3.15 makes this module unnecessary (PYTHON_LAZY_IMPORTS).
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any


def trim_pynamodb() -> AbstractContextManager[None]:
    """Import PynamoDB without botocore's client, which `aws_client` replaces."""
    from botocore.exceptions import ClientError

    return skip_modules(
        {
            "botocore.client": {"ClientError": ClientError},
            "botocore.config": {},
            "botocore.session": {"Session": object, "get_session": None},
            "pynamodb.connection._botocore_private": {"BotocoreBaseClientPrivate": object},
        }
    )


def trim_upstash_redis() -> AbstractContextManager[None]:
    """Import upstash-redis without its HTTP client, which `http_client` replaces."""
    return skip_modules({"asyncio": {}, "httpx": {}})


def trim_powertools_logger() -> AbstractContextManager[None]:
    """Import Powertools' Logger without the other utilities that its package imports."""
    return skip_modules(
        {
            "aws_lambda_powertools.metrics": {"Metrics": None, "single_metric": None},
            # It registers a user agent with botocore's client, which is not used here.
            "aws_lambda_powertools.shared.user_agent": {"inject_user_agent": lambda: None},
            "aws_lambda_powertools.tracing": {"Tracer": None},
            "aws_lambda_powertools.utilities.jmespath_utils": {},
        }
    )


def trim_pyjwt() -> AbstractContextManager[None]:
    """Import PyJWT without its HTTP client of key sets."""
    return skip_modules({"jwt.jwks_client": {"PyJWKClient": None}})


@contextmanager
def skip_modules(
    modules: Mapping[str, Mapping[str, Any] | None], bare_packages: Sequence[str] = ()
) -> Iterator[None]:
    """Import placeholders with these names in the modules' place while the block runs.

    A module that is None cannot be imported in the block. The `__init__` of a bare package, parents
    first, does not run before the block has ended and more is asked of it than its modules. Modules
    that are already imported stay as they are.
    """
    skipped: dict[str, ModuleType | None] = {}
    for name, given in modules.items():
        if name not in sys.modules:
            skipped[name] = None if given is None else _placeholder(name, given)
            sys.modules[name] = skipped[name]  # type: ignore[assignment] # None fails the import
    packages = [_bare_package(name) for name in bare_packages if name not in sys.modules]
    for name, module in skipped.items():
        _bind(name, module)
    try:
        yield
    finally:
        for name, module in skipped.items():
            if name in sys.modules and sys.modules[name] is module:
                del sys.modules[name]
                _unbind(name, module)
        for package in packages:
            package.__class__ = _BarePackage


def _placeholder(name: str, given: Mapping[str, Any]) -> ModuleType:
    module = ModuleType(name)

    def load(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if sys.modules.get(name) is module:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    vars(module).update(given, __getattr__=load)
    return module


class _BarePackage(ModuleType):
    """A package whose `__init__` runs when more is asked of it than its modules."""

    def __getattr__(self, name: str) -> Any:
        of_the_import_system = name.startswith("__") and name != "__all__"
        if of_the_import_system or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _bare_package(name: str) -> ModuleType:
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
