"""Python code in a new process, for events that a process sees only once, such as an import."""

import os
import subprocess
import sys

from infra.template import ROOT


def run(code: str, **environment: str) -> str:
    """Run code that may import our package, and return its output. Fails if the code fails."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "layers/core"} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
