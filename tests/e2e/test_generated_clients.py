"""Clients generated from the OpenAPI document, in Python and in TypeScript, against the API."""

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from infra.paths import ROOT, TOOLS
from tests.support.deployed import RunningStack

JOURNEYS = Path(__file__).with_name("clients")
PYTHON_CLIENT = TOOLS / "python-client" / "bin"
TYPESCRIPT_CLIENT = TOOLS / "typescript-client" / "node_modules"
MODULES = ["--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext"]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without a proxy, check that it succeeds, and return its output."""
    path = f"{PYTHON_CLIENT}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "NO_PROXY": "127.0.0.1,localhost"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(tool: str) -> None:
    """Install a generator if it is missing."""
    setup = [sys.executable, str(ROOT / "infra" / "setup.py"), "--quiet", "--only", tool]
    subprocess.run(setup, check=True)


@pytest.fixture
def document(stack: RunningStack, tmp_path: Path) -> Path:
    """A file with the OpenAPI document that the API serves."""
    path = tmp_path / "openapi.json"
    path.write_text(stack.http.get("/openapi.json").raise_for_status().text)
    return path


def check(seen: Any) -> None:
    """Check a journey's output: a reply, and three problems with their types."""
    assert seen["status"] == "answered"
    assert seen["problems"] == [
        {"status": 422, "type": "urn:geminichat:problem:key-reused"},
        {"status": 429, "type": "urn:geminichat:problem:quota-exceeded"},
        {"status": 409, "type": "urn:geminichat:problem:identity-taken"},
    ]
    assert datetime.fromisoformat(seen["resetsAt"]) > datetime.now().astimezone()


@pytest.mark.timeout(400)
def test_a_generated_python_client_has_a_type_for_every_answer_and_error(
    stack: RunningStack, document: Path
) -> None:
    install("python-client")
    folder = document.parent
    generator = PYTHON_CLIENT / "openapi-python-client"
    options = ["--meta", "none", "--fail-on-warning", "--output-path", "geminichat_client"]
    run(generator, "generate", "--path", document, *options, cwd=folder)

    shutil.copy(JOURNEYS / "journey.py", folder)
    check(json.loads(run(PYTHON_CLIENT / "python", "journey.py", stack.url, cwd=folder)))


@pytest.mark.timeout(400)
def test_a_generated_typescript_client_compiles_in_strict_mode_and_distinguishes_errors(
    stack: RunningStack, document: Path
) -> None:
    if not shutil.which("npm"):
        pytest.skip("the TypeScript client needs npm, which comes with Node.js 20 or newer")
    install("typescript-client")
    folder = document.parent
    (folder / "node_modules").symlink_to(TYPESCRIPT_CLIENT)
    bin_ = TYPESCRIPT_CLIENT / ".bin"
    run(bin_ / "openapi-typescript", document, "--output", "schema.d.ts", cwd=folder)

    shutil.copy(JOURNEYS / "journey.ts", folder)
    run(bin_ / "tsc", "--strict", *MODULES, "--lib", "es2022,dom", "journey.ts", cwd=folder)
    check(json.loads(run("node", "journey.js", stack.url, cwd=folder)))
