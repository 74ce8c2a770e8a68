"""Structured logs: one JSON line per event, ids only; never content, codes, tokens or passwords."""

import functools
import os
from typing import Any

import msgspec

from geminichat.runtime import trimmed_imports

with trimmed_imports.trim_powertools_logger():
    from aws_lambda_powertools.logging import Logger

_CALLER = 3
"""Stack frames to skip, so that a line's `location` is the code that called this module."""


def info(event: str, /, **fields: object) -> None:
    """Log an event that is part of normal operation."""
    _logger().info(event, stacklevel=_CALLER, extra=fields)


def warning(event: str, /, **fields: object) -> None:
    """Log an event that an operator may have to look at."""
    _logger().warning(event, stacklevel=_CALLER, extra=fields)


def error(event: str, /, **fields: object) -> None:
    """Log an event that an operator must look at."""
    _logger().error(event, stacklevel=_CALLER, extra=fields)


def exception(event: str, /, **fields: object) -> None:
    """Log an event with the exception that is being handled and its traceback."""
    _logger().exception(event, stacklevel=_CALLER, extra=fields)


@functools.cache
def _logger() -> Logger:
    # All functions share one log group, so each line names its function.
    name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
    return Logger(service="geminichat", function_name=name, json_serializer=_encode)


def _encode(line: dict[str, Any]) -> str:
    return msgspec.json.encode(line, enc_hook=str).decode()  # 20 µs faster than json.dumps
