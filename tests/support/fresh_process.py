"""Python code in a process of its own, for what can be seen only once: imports and starts."""

import os
import subprocess
import sys

from infra.template import ROOT


def run(code: str, **environment: str) -> str:
    """Run code that may import our package, and return what it prints; fail if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "layers/core"} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
