"""Skip unused modules of five libraries, because importing them would slow cold starts down.

While a `with` block imports a library, a placeholder replaces each skipped module. The placeholder
has the given attributes, and loads the real module when another attribute is used. No package is
changed, and a later import gets the real module. README.md says how much time each block saves, and
how to remove it.

Python 3.15 makes this module unnecessary (PYTHON_LAZY_IMPORTS).
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any


def trim_pynamodb() -> AbstractContextManager[None]:
    """Skip botocore's client while PynamoDB is imported; `aws_client` replaces it."""
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
    """Skip httpx, asyncio and the search commands while upstash-redis is imported.

    `http_client` replaces httpx. Other commands use the search classes only in annotations.
    """
    names = (
        "CountResult DataType FieldType HighlightOptions Language Order Schema ScoreFunc "
        "ScoreByMultipleFields deserialize_aggregate_response deserialize_describe_response "
        "deserialize_query_response"
    )
    search = dict.fromkeys(names.split(), object)
    return skip_modules({"asyncio": {}, "httpx": {}, "upstash_redis.search": search})


def trim_stripe() -> AbstractContextManager[None]:
    """Skip asyncio while Stripe's SDK is imported; only asynchronous methods need it."""
    return skip_modules({"asyncio": {}})


def trim_powertools_logger() -> AbstractContextManager[None]:
    """Skip the other utilities of Powertools while its Logger is imported."""
    return skip_modules(
        {
            "aws_lambda_powertools.metrics": {"Metrics": None, "single_metric": None},
            # This registers a user agent with botocore's client, which is not used here.
            "aws_lambda_powertools.shared.user_agent": {"inject_user_agent": lambda: None},
            "aws_lambda_powertools.tracing": {"Tracer": None},
            "aws_lambda_powertools.utilities.jmespath_utils": {},
        }
    )


def trim_pyjwt() -> AbstractContextManager[None]:
    """Skip the HTTP client for key sets while PyJWT is imported."""
    return skip_modules({"jwt.jwks_client": {"PyJWKClient": None}})


@contextmanager
def skip_modules(modules: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Replace modules by placeholders while the block runs.

    `modules` maps each module's name to the attributes of its placeholder. Modules that are
    already imported are not replaced.
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
    """Remove a placeholder from `sys.modules` and from its package."""
    del sys.modules[name]
    parent, _, child = name.rpartition(".")
    if parent in sys.modules and getattr(sys.modules[parent], child, None) is module:
        delattr(sys.modules[parent], child)
