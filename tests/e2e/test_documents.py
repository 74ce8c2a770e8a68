"""The Postman collection against the running API."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.openapi.journey import JOURNEY
from infra.paths import ROOT, TOOLS
from tests.support import document
from tests.support.deployed import RunningStack


@pytest.fixture(scope="module")
def newman() -> Path:
    """Install newman, a runner of Postman collections, if it is missing; return its path."""
    if not shutil.which("npm"):
        pytest.skip("newman needs npm, which comes with Node.js 16 or newer")
    subprocess.run([sys.executable, ROOT / "infra/setup.py", "--only", "newman"], check=True)
    return TOOLS / "newman" / "node_modules" / ".bin" / "newman"


@pytest.mark.timeout(300)
def test_the_journey_of_the_postman_collection_passes_in_newman(
    stack: RunningStack, newman: Path, tmp_path: Path
) -> None:
    collection, report = tmp_path / "postman.json", tmp_path / "report.json"
    collection.write_text(stack.http.get("/docs/postman.json").raise_for_status().text)
    command = [str(newman), "run", str(collection), "--folder", "Journey"]
    command += ["--env-var", f"baseUrl={stack.url}", "--reporters", "cli,json"]
    command += ["--reporter-json-export", str(report)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

    walked = json.loads(report.read_text())["run"]["executions"]
    named = dict.fromkeys(one["item"]["name"].partition(". ")[2] for one in walked)
    assert list(named) == [step.says for step in JOURNEY]
    for one in walked:
        request, answer = one["request"], one["response"]
        headers = {header["key"].lower(): header["value"] for header in answer["header"]}
        assert "x-request-id" in headers
        document.check(
            request["method"],
            "/" + "/".join(request["url"]["path"]),
            answer["code"],
            headers,
            bytes(answer["stream"]["data"]).decode(),
        )
