"""`sam local` with a running local stack: functions in containers, everything else as in `make up`.

The containers run the code on disk with the settings of the deployed functions. The addresses in
the settings are replaced with addresses that a container can reach.
"""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from infra import running
from infra.command import CommandError, get_function_name
from infra.local.client import ApiError, Unreachable
from infra.local.cloud import build, docker, run_until_parent_exits, sample_events
from infra.local.data_folder import DataFolder
from infra.paths import BUILD, ROOT, SAM, TOOLS, display_path
from infra.running import Stack
from infra.template import load

OUR_LOOPBACK = re.compile(r"^(https?://)(?:127\.0\.0\.1|localhost)(?=:)")
PATIENCE = "60"
"""Seconds that SAM waits for a container; the first start imports many modules."""


async def start_api(folder: DataFolder, port: int) -> int:
    """Serve the API on a port, each function in a container; return SAM's exit status."""
    warm = ["--warm-containers", "LAZY"]
    return await _sam(folder, running.get(folder.path), "start-api", ["--port", str(port), *warm])


async def invoke(folder: DataFolder, function: str, event: Path | None) -> int:
    """Invoke a function once, by default with its sample event; return SAM's exit status.

    Raises CommandError.
    """
    stack = running.get(folder.path)
    get_function_name(function, stack.functions)
    source = display_path(event) if event else f"The sample event of {function}"
    guest = sample_events.Guest(stack.api_url)
    try:
        text = event.read_text() if event else sample_events.text_of(function)
        content = sample_events.fill_in(text, guest.value_of, time.time())
    except OSError as error:
        raise CommandError(f"{source} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError) as error:
        raise CommandError(f"{source} is not a valid event: {error}") from error
    except (ApiError, Unreachable) as error:
        raise CommandError(f"{source} needs a user, but the API failed: {error}") from error
    draft = folder.path / "event.json"
    draft.write_text(json.dumps(content))
    return await _sam(folder, stack, "invoke", [function, "--event", str(draft)])


async def _sam(folder: DataFolder, stack: Stack, command: str, arguments: list[str]) -> int:
    docker.check()
    async with build.lock():
        if not build.is_built():
            print("Building functions and layers …", file=sys.stderr, flush=True)
            await build.build(folder.logs / "sam-build.log")
    settings = folder.path / "env.json"
    settings.write_text(json.dumps(environment(stack), indent=2))
    async with docker.reachable_ports(ports(stack)) as host:
        options = ["--template-file", str(BUILD / "template.yaml"), "--env-vars", str(settings)]
        options += ["--region", stack.aws.region, *host]
        if docker.has_image(image()):
            options.append("--skip-pull-image")
        options += ["--parameter-overrides", *_parameters(stack)]
        return await _run(["local", command, *arguments, *options], stack)


async def _run(arguments: list[str], stack: Stack) -> int:
    """Run the SAM CLI on this terminal; SAM ends with this process at the latest."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    credentials = {
        name: value
        for name, value in stack.aws.environment.items()
        if name.startswith("AWS_") and name != "AWS_ENDPOINT_URL"
    }
    settings = {
        "PATH": os.pathsep.join([str(TOOLS / "bin"), os.environ.get("PATH", os.defpath)]),
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": PATIENCE,
        "PYTHONWARNINGS": "ignore",
    }
    process = await asyncio.create_subprocess_exec(
        *run_until_parent_exits.wrap(SAM, *arguments),
        stdin=asyncio.subprocess.PIPE,
        env=inherited | credentials | settings,
        cwd=ROOT,
        start_new_session=True,  # without Ctrl-C: a second signal makes SAM leave its containers
    )

    def stop() -> None:
        if process.stdin:
            process.stdin.close()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    return await process.wait()


def image() -> str:
    """Return the name of the image in which SAM runs our functions."""
    runtime = load()["Globals"]["Function"]["Runtime"]
    version = runtime.removeprefix("python")
    return f"public.ecr.aws/lambda/python:{version}-{build.architecture()}"


def ports(stack: Stack) -> list[int]:
    """Return the ports of the services that functions call."""
    services = [stack.aws.endpoint_url, stack.upstash.url]
    services += [one.url for one in (stack.gemini, stack.stripe) if one]
    return [port for url in services if (port := urlsplit(url).port)]


def environment(stack: Stack) -> dict[str, dict[str, str]]:
    """Return SAM's `--env-vars`: the deployed functions' settings, with reachable addresses."""
    functions = stack.aws.client("lambda")
    found = {}
    for logical_id, name in stack.functions.items():
        settings = functions.get_function_configuration(FunctionName=name)["Environment"]
        found[logical_id] = make_reachable(settings["Variables"])
    return found


def make_reachable(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with HOST_NAME in place of our loopback's address."""
    outside = rf"\g<1>{docker.HOST_NAME}"
    return {name: OUR_LOOPBACK.sub(outside, value) for name, value in settings.items()}


def _parameters(stack: Stack) -> list[str]:
    """Return the parameters of the deployed stack as arguments of the SAM CLI."""
    stacks = stack.aws.client("cloudformation")
    [found] = stacks.describe_stacks(StackName=stack.stack)["Stacks"]
    given = {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}
    return [f"{name}={value}" for name, value in given.items() if value]
