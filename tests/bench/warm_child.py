"""Measure how much CPU a warm request takes outside the SDKs' calls.

This process runs with the packages of one function. The event and the number of runs are in the
environment; the result is printed as JSON.
"""

import contextlib
import importlib
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_inside = 0
_lock = threading.Lock()
_depth = threading.local()


def _exclude_time(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an SDK's call so that its CPU time does not count as the function's own."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        global _inside
        if getattr(_depth, "value", 0):
            return call(*args, **kwargs)
        _depth.value = 1
        began = time.thread_time_ns()
        try:
            return call(*args, **kwargs)
        finally:
            spent = time.thread_time_ns() - began
            _depth.value = 0
            with _lock:
                _inside += spent

    return wrapped


def _include_time(run: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a call made while an SDK waits, so that its CPU time counts as the function's own."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        global _inside
        depth, _depth.value = getattr(_depth, "value", 0), 0
        began = time.thread_time_ns()
        try:
            return run(*args, **kwargs)
        finally:
            if depth:
                with _lock:
                    _inside -= time.thread_time_ns() - began
            _depth.value = depth

    return wrapped


SDK_CALLS = [
    ("botocore.client", "BaseClient", "_make_api_call"),
    ("upstash_redis", "Redis", "execute"),
    ("stripe", "StripeClient", "raw_request"),
    ("geminichat.upstash.redis", "Redis", "execute"),
    ("geminichat.runtime.aws_client", "Client", "call"),
    ("geminichat.runtime.aws_client", "Client", "_make_api_call"),
    ("geminichat.runtime.aws_client", "Client", "post"),
]


def _watch() -> None:
    for module, holder, name in SDK_CALLS:
        if module not in sys.modules:
            continue
        kind = getattr(sys.modules[module], holder, None)
        if kind is None or not hasattr(kind, name):
            raise RuntimeError(f"{module}.{holder}.{name} does not exist: update SDK_CALLS.")
        setattr(kind, name, _exclude_time(getattr(kind, name)))
    if "geminichat.runtime.http_client" in sys.modules:
        overlapped = sys.modules["geminichat.runtime.http_client"]._Overlapped
        overlapped.run = _include_time(overlapped.run)


def main() -> None:
    """Print the microseconds of CPU per request: the function's own, and the total."""
    global _inside
    event = json.loads(os.environ["BENCH_EVENT"])
    times = int(os.environ["BENCH_TIMES"])
    sys.path.insert(0, str(Path.cwd()))
    context = SimpleNamespace(
        function_name="bench",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:bench",
        aws_request_id="8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        get_remaining_time_in_millis=lambda: 60_000,
    )
    said = sys.stdout
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        handler = importlib.import_module("app").handler
        for _ in range(3):
            handler(event, context)
        _watch()
        own, whole = [], []
        for _ in range(times):
            _inside = 0
            began = time.process_time_ns()
            handler(event, context)
            spent = time.process_time_ns() - began
            own.append((spent - _inside) / 1e3)
            whole.append(spent / 1e3)
    print(json.dumps({"own": statistics.median(own), "whole": statistics.median(whole)}), file=said)


if __name__ == "__main__":
    main()
