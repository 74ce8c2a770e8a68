"""Deploy a stage to AWS: look whether it has what it needs, build, show the plan, ask, and do it.

`make deploy STAGE=dev`. The plan is CloudFormation's change set; with YES=1, as CI has it, nobody
is asked, and with ROLE=arn:… CloudFormation takes on that role for it (infra/pipeline-role.yaml).
"""

import os
import subprocess
import sys
from typing import Any

import boto3
from botocore.exceptions import ClientError

from infra.paths import ROOT, SAM, TOOLS
from infra.stages import put_secrets, release
from infra.stages import stage as stages
from infra.stages.command import command, parser
from infra.stages.stage import Stage, StageError

BUILT = ROOT / ".aws-sam" / "build" / "template.yaml"


@command
def main(arguments: list[str]) -> None:
    """Deploy and say where it answers."""
    wanted = parser("deploy", __doc__)
    wanted.add_argument("--yes", action="store_true", help="do not ask")
    wanted.add_argument("--role", metavar="ARN", help="what CloudFormation does it as")
    options = wanted.parse_args(arguments)
    stage = stages.read(options.stage)
    check(stage)
    print(f"Deploying {stage.stack}, {stages.account()}", flush=True)
    sam("build", "--config-env", stage.name)
    release.compile_functions(BUILT.parent)
    release.stamp(BUILT, stage.parameters)
    silently = ["--no-confirm-changeset"] if options.yes else []
    in_role = ["--role-arn", options.role] if options.role else []
    sam("deploy", "--config-env", stage.name, *silently, *in_role)
    print(after(stage, outputs(stage)))


def check(stage: Stage) -> None:
    """Raise StageError where the stage lacks something that its functions need."""
    if stage.unfilled:
        raise StageError(
            f"samconfig.toml still says {stages.PLACEHOLDER}, in [{stage.name}.deploy.parameters]: "
            f"fill in {', '.join(stage.unfilled)}."
        )
    stages.account()
    if lacking := put_secrets.missing(boto3.client("ssm"), stage):
        raise StageError(
            f"SSM does not have {', '.join(lacking)} yet: run `make secrets STAGE={stage.name}`."
        )


def sam(*arguments: str) -> None:
    """Run the SAM CLI, its output going where ours goes. Raises StageError."""
    path = os.pathsep.join([str(TOOLS / "bin"), os.environ.get("PATH", os.defpath)])
    env = os.environ | {"PATH": path, "SAM_CLI_TELEMETRY": "0"}
    if subprocess.run([SAM, *arguments], cwd=ROOT, env=env).returncode:
        raise StageError(f"sam {arguments[0]} did not succeed: see above.")


def outputs(stage: Stage) -> dict[str, str]:
    """Return the stack's outputs; none where nothing was deployed."""
    try:
        [stack] = boto3.client("cloudformation").describe_stacks(StackName=stage.stack)["Stacks"]
    except ClientError:
        return {}
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def after(stage: Stage, told: dict[str, Any]) -> str:
    """Return what to tell once it is deployed."""
    if "ApiUrl" not in told:
        return "Nothing was deployed."
    url = told["ApiUrl"]
    return f"""
{stage.stack} answers at {url}
  what it stands on  curl -s '{url}/health?deep=1'
  Stripe's webhook   {url}/webhook/stripe
  dashboard          CloudWatch, Dashboards, geminichat-{stage.name}
  when it rings      RUNBOOK.md"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
