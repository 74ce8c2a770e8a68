"""Deploy a stage to AWS: `make deploy STAGE=dev`.

Checks that the stage has all settings and secrets, builds, shows CloudFormation's change set, asks
for confirmation, and deploys. YES=1 skips the question, as in CI; ROLE=arn:… makes CloudFormation
assume that role (infra/pipeline-role.yaml).
"""

import os
import subprocess
import sys

import boto3

from infra.command import CommandError
from infra.paths import ROOT, SAM, TOOLS
from infra.stages import check_models, put_secrets, release
from infra.stages import stage as stages
from infra.stages.command import command, parser
from infra.stages.stage import Stage

BUILT = ROOT / ".aws-sam" / "build" / "template.yaml"


@command
def main(arguments: list[str]) -> None:
    """Deploy a stage and print where it answers."""
    known = parser("deploy", __doc__)
    known.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    known.add_argument("--role", metavar="ARN", help="the role that CloudFormation assumes")
    options = known.parse_args(arguments)
    stage = stages.connect(options.stage)
    check(stage)
    sam("build", "--config-env", stage.name)
    release.compile_functions(BUILT.parent)
    release.stamp(BUILT, stage.parameters)
    unasked = ["--no-confirm-changeset"] if options.yes else []
    role = ["--role-arn", options.role] if options.role else []
    region = ["--region", os.environ["AWS_REGION"]]
    sam("deploy", "--config-env", stage.name, *region, *unasked, *role)
    print(summary(stage, stages.outputs(stage) or {}))


def check(stage: Stage) -> None:
    """Raise CommandError if the stage lacks a setting or a secret that its functions need."""
    if stage.unfilled:
        raise CommandError(
            f"samconfig.toml still contains {stages.PLACEHOLDER} in "
            f"[{stage.name}.deploy.parameters]: fill in {', '.join(stage.unfilled)}."
        )
    check_models.read_catalogue(stage.parameters)
    if missing := put_secrets.missing(boto3.client("ssm"), stage):
        raise CommandError(
            f"SSM does not have {', '.join(missing)} yet. Run `make secrets STAGE={stage.name}`."
        )


def sam(*arguments: str) -> None:
    """Run the SAM CLI on this terminal. Raises CommandError if it fails."""
    path = os.pathsep.join([str(TOOLS / "bin"), os.environ.get("PATH", os.defpath)])
    env = os.environ | {"PATH": path, "SAM_CLI_TELEMETRY": "0"}
    if subprocess.run([SAM, *arguments], cwd=ROOT, env=env).returncode:
        raise CommandError(f"sam {arguments[0]} failed; its output above says why.")


def summary(stage: Stage, outputs: dict[str, str]) -> str:
    """Return the text to print after a deployment."""
    if "ApiUrl" not in outputs:
        return "Nothing was deployed."
    url = outputs["ApiUrl"]
    return f"""
{stage.stack} answers at {url}
  health of its dependencies  curl -s '{url}/health?deep=1'
  Stripe's webhook            {url}/webhook/stripe
  dashboard                   CloudWatch, Dashboards, geminichat-{stage.name}
  what to do about an alarm   RUNBOOK.md"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
