"""A stage on the emulated AWS: secrets, deployments, a refused deployment, and the deletion."""

import shutil
import subprocess
from pathlib import Path

import pytest

from infra.paths import ROOT, TOOLS
from tests.support import stage_commands
from tests.support.deployed import RunningStack

SETTINGS = {
    "https://YOUR-DATABASE.upstash.io": "https://dev.upstash.example",
    "YOUR-ADDRESS@YOUR-DOMAIN.example": "sender@example.com",
}
SECRETS = {"UPSTASH_TOKEN": "t" * 28, "GEMINI_API_KEY": "k" * 39}


class Operator:
    """A person who runs the repository's commands on the stage dev, in a clone."""

    def __init__(self, checkout: Path, stack: RunningStack) -> None:
        self.checkout = checkout
        self._environment = {"PATH": "/usr/bin:/bin", "HOME": str(checkout)}
        self._environment |= stack.description.aws.environment | SECRETS

    def run(self, command: str, *options: str, answer: str = "") -> tuple[int, str]:
        """Run a command, and return its exit status and its output."""
        done = stage_commands.run(
            command,
            "dev",
            *options,
            environment=self._environment,
            cwd=self.checkout,
            answer=answer,
        )
        return done.returncode, done.stdout + done.stderr

    def edit(self, file: str, before: str, after: str) -> None:
        """Replace a text in a file of the checkout."""
        path = self.checkout / file
        text = path.read_text()
        assert before in text, f"{file} does not contain {before!r}"
        path.write_text(text.replace(before, after))


@pytest.fixture
def operator(stack: RunningStack, tmp_path: Path) -> Operator:
    """An operator whose clone has all settings of the stage dev."""
    checkout = tmp_path / "a clone"
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in files.stdout.splitlines():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name, follow_symlinks=False)
    (checkout / ".local").symlink_to(TOOLS)
    operator = Operator(checkout, stack)
    for before, after in SETTINGS.items():
        operator.edit("samconfig.toml", before, after)
    return operator


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_stage_is_deployed_after_corrections_and_then_destroyed(
    operator: Operator, stack: RunningStack
) -> None:
    status, output = operator.run("deploy", "--yes")
    assert (status, "make secrets STAGE=dev" in output) == (1, True), output
    status, output = operator.run("put_secrets")
    assert (status, "gemini-api-key: stored" in output) == (0, True), output
    assert not any(secret in output for secret in SECRETS.values())

    status, output = operator.run("deploy", "--yes")
    assert status == 1, "the emulated AWS accepted alarms on metric math"
    assert "The deployment failed: Observability" in output
    assert "All resources of the deployment were deleted." in output
    endpoint = stack.description.aws.endpoint_url
    operator.edit("samconfig.toml", '"Stage=dev",', f'"Stage=dev", "AwsEndpoint={endpoint}",')
    status, output = operator.run("deploy", "--yes")
    assert (status, "geminichat-dev answers at http" in output) == (0, True), output
    assert "Deleting the empty stack" in output

    status, output = operator.run("deploy", "--yes")
    assert (status, "No changes to deploy" in output) == (0, True), output
    status, output = operator.run("status")
    assert (status, "CREATE_COMPLETE" in output) == (0, True), output
    operator.edit("template.yaml", "- IndexName: by-activity", "- IndexName: by-date")
    status, output = operator.run("deploy", "--yes")
    assert (status, "REPLACE=ChatroomsTable" in output) == (1, True), output

    status, output = operator.run("destroy", answer="no\n")
    assert (status, "Nothing was deleted." in output) == (1, True), output
    status, output = operator.run("destroy", answer="dev\n")
    assert (status, "3 secrets: deleted" in output) == (0, True), output
    tables = stack.aws("dynamodb").get_paginator("list_tables").paginate()
    assert not [name for page in tables for name in page["TableNames"] if "-dev-" in name]
    status, output = operator.run("destroy", answer="dev\n")
    assert (status, "There is no stack geminichat-dev" in output) == (1, True), output
