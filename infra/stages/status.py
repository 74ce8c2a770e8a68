"""Show a stage on AWS: its stack, its address, and the health of its dependencies.

`make status STAGE=dev`
"""

import sys

import boto3
import httpx

from infra.command import CommandError
from infra.stages import stage as stages
from infra.stages.command import command, parser

PATIENCE = 35.0
"""Seconds to wait for the API's answer; API Gateway's limit is 30 s."""


@command
def main(arguments: list[str]) -> None:
    """Print the state of a stage. Raises CommandError if the stage is not deployed."""
    stage = stages.connect(parser("status", __doc__).parse_args(arguments).stage)
    outputs = stages.outputs(stage)
    if outputs is None:
        raise CommandError(f"There is no stack {stage.stack} here: {stage.name} is not deployed.")
    [stack] = boto3.client("cloudformation").describe_stacks(StackName=stage.stack)["Stacks"]
    changed = stack.get("LastUpdatedTime", stack["CreationTime"])
    print(f"Stack    {stack['StackStatus']}, last changed {changed:%Y-%m-%d %H:%M} UTC")
    if url := outputs.get("ApiUrl"):
        print(f"API      {url}\nHealth   {health(url)}")


def health(url: str) -> str:
    """Return the state of the API's dependencies, or the reason why the state is unknown."""
    try:
        states = httpx.get(f"{url}/health?deep=1", timeout=PATIENCE).json()["data"]["dependencies"]
    except httpx.TransportError as error:
        return f"no answer ({error})"
    except (ValueError, KeyError) as error:
        return f"an unexpected answer ({error!r})"
    return ", ".join(f"{name}: {state}" for name, state in states.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
