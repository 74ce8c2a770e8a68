"""Commands of infra/stages, each in a process of its own, as `make` runs them."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.paths import ROOT


def run(
    command: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    answer: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a command with only this environment, and return its result."""
    own = {"PATH": "", "PYTHONPATH": "layers/core", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", f"infra.stages.{command}", *arguments],
        cwd=cwd,
        env=own | dict(environment or {}),
        input=answer,
        capture_output=True,
        text=True,
        timeout=300,
    )
