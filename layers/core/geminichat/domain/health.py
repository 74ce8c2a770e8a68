"""The answer of GET /health."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class Health(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether the API is up, and with `?deep=1` one line per dependency."""

    status: Literal["ok", "degraded"]
    version: str
    dependencies: dict[str, str] | UnsetType = UNSET
