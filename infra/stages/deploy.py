"""Deploy a stage to AWS: `make deploy STAGE=dev`.

The command checks that the stage has all settings and secrets, builds, shows CloudFormation's
change set, asks for confirmation, and deploys. YES=1 skips the question, as in CI. With ROLE=arn:…,
CloudFormation assumes that role (infra/pipeline-role.yaml). A change that would replace or remove a
table, a queue or a bucket is refused unless REPLACE names the resource.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

import boto3

from infra.command import CommandError
from infra.paths import ROOT, SAM, TOOLS
from infra.stages import check_models, put_secrets, release, stack
from infra.stages import stage as stages
from infra.stages.command import command, parser
from infra.stages.stage import Stage

BUILT = ROOT / ".aws-sam" / "build" / "template.yaml"


@command
def main(arguments: list[str]) -> None:
    """Deploy a stage and print its addresses."""
    known = parser("deploy", __doc__)
    known.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    known.add_argument("--role", metavar="ARN", help="the role that CloudFormation assumes")
    known.add_argument("--replace", default="", help="logical ids that may be replaced, as A,B")
    options = known.parse_args(arguments)
    stage = stages.connect(options.stage)
    check(stage)
    stacks = boto3.client("cloudformation")
    for line in stack.delete_if_creation_failed(stacks, stage.stack):
        print(line, flush=True)
    sam("build", "--config-env", stage.name)
    release.compile_functions(BUILT.parent)
    release.stamp(BUILT, stage.parameters)
    role = ["--role-arn", options.role] if options.role else []
    common = ["--config-env", stage.name, "--region", os.environ["AWS_REGION"], *role]
    unasked = ["--no-confirm-changeset"] if options.yes else []
    replaceable = [name for name in options.replace.split(",") if name]
    exists = stack.status(stacks, stage.stack) is not None
    if exists:
        check_changes(stage, common, replaceable)
        stack.protect(stacks, stage.stack, replaceable)
    newest = stack.newest_event(stacks, stage.stack)
    try:
        sam("deploy", *common, *unasked)
    except CommandError as error:
        raise CommandError(explain(stage, error, newest)) from error
    finally:
        if stack.status(stacks, stage.stack) not in (None, "ROLLBACK_COMPLETE"):
            stack.protect(stacks, stage.stack)
    print(summary(stage, stages.outputs(stage) or {}))


def check_changes(stage: Stage, arguments: Sequence[str], replaceable: Sequence[str]) -> None:
    """Raise CommandError if the deployment would replace or remove a resource that holds data."""
    stacks = boto3.client("cloudformation")
    before = stack.change_sets(stacks, stage.stack)
    print("Comparing the build with the stack …", flush=True)
    sam("deploy", *arguments, "--no-execute-changeset", "--no-confirm-changeset", quiet=True)
    for change_set in stack.change_sets(stacks, stage.stack) - before:
        try:
            stack.refuse_data_loss(stacks, change_set, replaceable)
        finally:
            stacks.delete_change_set(ChangeSetName=change_set)


def explain(stage: Stage, error: CommandError, newest: str) -> str:
    """Return why the deployment failed, and the next step; ignore events up to `newest`."""
    stacks = boto3.client("cloudformation")
    state = stack.status(stacks, stage.stack)
    failure = stack.failure(stacks, stage.stack, newest) if state else None
    if failure is None:
        return str(error)
    now = {
        "ROLLBACK_COMPLETE": "All resources of the deployment were deleted.",
        "UPDATE_ROLLBACK_COMPLETE": "The stage is as it was before.",
    }
    return (
        f"The deployment failed: {failure}\n{now.get(state or '', f'The stack is {state}.')} "
        f"Correct the cause, then run `make deploy STAGE={stage.name}` again."
    )


def check(stage: Stage) -> None:
    """Raise CommandError if the stage lacks a setting or a secret that its functions need."""
    if stage.unfilled:
        raise CommandError(
            f"samconfig.toml still contains {stages.PLACEHOLDER} in "
            f"[{stage.name}.deploy.parameters]: fill in {', '.join(stage.unfilled)}."
        )
    check_models.read_catalogue(stage.parameters)
    if missing := put_secrets.list_missing(boto3.client("ssm"), stage):
        raise CommandError(
            f"SSM does not have {', '.join(missing)} yet. Run `make secrets STAGE={stage.name}`."
        )


def sam(*arguments: str, quiet: bool = False) -> None:
    """Run the SAM CLI. With `quiet`, print its output only after a failure. Raises CommandError."""
    path = os.pathsep.join([str(TOOLS / "bin"), os.environ.get("PATH", os.defpath)])
    env = os.environ | {"PATH": path, "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run([SAM, *arguments], cwd=ROOT, env=env, capture_output=quiet, text=True)
    if done.returncode:
        print(done.stdout or "", done.stderr or "", flush=True)
        raise CommandError(f"sam {arguments[0]} failed; the output above has the reason.")


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
