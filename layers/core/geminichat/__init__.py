"""What every function runs on: msgspec alone is imported here, without what is not used of it."""

import gc
import typing

from geminichat import lean

# Nothing that a function imports is garbage: to look for some, again and again, takes a thirtieth
# of a cold start. Requests leave little of it behind, so later too it is enough to look seldom.
gc.set_threshold(50_000)

_HINTS = {name: getattr(typing, name) for name in ("get_type_hints", "NotRequired", "Required")}

with lean.without(
    {
        "msgspec.inspect": {},
        "msgspec.toml": {},
        "msgspec.yaml": {},
        "typing_extensions": _HINTS,  # which has these from typing itself
    }
):
    import msgspec  # noqa: F401
