"""Imports of five libraries without modules that are never used here, which slow cold starts down.

An SDK's module imports many others. While a `with` block imports a library, each skipped module is
replaced by a placeholder. It has the given names, and loads the real module when another name is
used. No package is changed, and a later import gets the real module. README.md
says what each block saves, and how to do without it.

Python 3.15 makes this module unnecessary (PYTHON_LAZY_IMPORTS).
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
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


def trim_stripe() -> AbstractContextManager[None]:
    """Import Stripe's SDK without asyncio, which its methods for asynchronous callers need."""
    return skip_modules({"asyncio": {}})


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
def skip_modules(modules: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Import placeholders with these names in the modules' place while the block runs.

    Modules that are already imported stay as they are.
    """
    placeholders = {
        name: _placeholder(name, given)
        for name, given in modules.items()
        if name not in sys.modules
    }
    sys.modules.update(placeholders)
    for name, module in placeholders.items():
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, module)
    try:
        yield
    finally:
        for name, module in placeholders.items():
            if sys.modules.get(name) is module:
                _remove(name, module)


def _placeholder(name: str, given: Mapping[str, Any]) -> ModuleType:
    module = ModuleType(name)

    def load(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if sys.modules.get(name) is module:
            _remove(name, module)
        return getattr(importlib.import_module(name), attribute)

    vars(module).update(given, __getattr__=load)
    return module


def _remove(name: str, module: ModuleType) -> None:
    """Remove a placeholder from the imported modules and from its package."""
    del sys.modules[name]
    parent, _, child = name.rpartition(".")
    if parent in sys.modules and getattr(sys.modules[parent], child, None) is module:
        delattr(sys.modules[parent], child)
