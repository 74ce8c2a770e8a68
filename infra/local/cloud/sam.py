"""`sam local` against the emulated cloud: functions in containers, all else as `make up` runs it.

The code is what is on disk now; its settings are those of the deployed functions, with addresses
that lead out of a container.
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

from infra.local.client import Refused, Unreachable
from infra.local.cloud import build, engine, events, leash, stack
from infra.local.cloud.stack import Stack
from infra.paths import BUILD, ROOT, SAM, TOOLS, Home, LocalError, shown
from infra.template import load

OUR_LOOPBACK = re.compile(r"^(https?://)(?:127\.0\.0\.1|localhost)(?=:)")
PATIENCE = "60"
"""Seconds that SAM waits for a container: its first start imports much."""


async def start_api(home: Home, port: int) -> int:
    """Serve the API on a port, each function in a container; return SAM's exit status."""
    warm = ["--warm-containers", "LAZY"]
    return await _sam(home, stack.running(home), "start-api", ["--port", str(port), *warm])


async def invoke(home: Home, function: str, event: Path | None) -> int:
    """Invoke a function once, on its sample event where none is given; return SAM's exit status.

    Raises LocalError.
    """
    running = stack.running(home)
    if function not in running.functions:
        known = ", ".join(sorted(running.functions))
        raise LocalError(f"There is no function {function}. There are: {known}")
    path = event or events.of(function)
    guest = events.Guest(running.api_url)
    try:
        content = events.filled(path.read_text(), guest.value_of, time.time())
    except OSError as error:
        raise LocalError(f"{shown(path)} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError) as error:
        raise LocalError(f"{shown(path)} is no event: {error}") from error
    except (Refused, Unreachable) as error:
        raise LocalError(f"Nobody could be made for {shown(path)}: {error}") from error
    draft = home.folder / "event.json"
    draft.write_text(json.dumps(content))
    return await _sam(home, running, "invoke", [function, "--event", str(draft)])


async def _sam(home: Home, running: Stack, command: str, arguments: list[str]) -> int:
    engine.check()
    async with build.only_one():
        if not build.is_built():
            print("Building functions and layers …", file=sys.stderr, flush=True)
            await build.build(home.logs / "sam-build.log")
    settings = home.folder / "env.json"
    settings.write_text(json.dumps(environment(running), indent=2))
    async with engine.reaching_us(ports(running)) as way:
        told = ["--template-file", str(BUILD / "template.yaml"), "--env-vars", str(settings)]
        told += ["--region", running.aws.region, *way]
        if engine.has_image(image()):
            told.append("--skip-pull-image")
        told += ["--parameter-overrides", *_parameters(running)]
        return await _run(["local", command, *arguments, *told], running)


async def _run(arguments: list[str], running: Stack) -> int:
    """Run the SAM CLI on our terminal; it ends with us, and stops its containers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    path = os.pathsep.join([str(TOOLS / "bin"), os.environ.get("PATH", os.defpath)])
    ours = {
        "PATH": path,
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": PATIENCE,
        "PYTHONWARNINGS": "ignore",
        "AWS_ACCESS_KEY_ID": running.aws.access_key_id,
        "AWS_SECRET_ACCESS_KEY": running.aws.secret_access_key,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        leash.__file__,
        SAM,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        env=kept | ours,
        cwd=ROOT,
        start_new_session=True,  # told once, by us: told twice, SAM leaves its containers behind
    )

    def stop() -> None:
        if process.stdin:
            process.stdin.close()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    return await process.wait()


def image() -> str:
    """Return the image that SAM runs our functions in."""
    runtime = load()["Globals"]["Function"]["Runtime"]
    version = runtime.removeprefix("python")
    return f"public.ecr.aws/lambda/python:{version}-{build.architecture()}"


def ports(running: Stack) -> list[int]:
    """Return the ports of our loopback that functions call."""
    services = [running.aws.endpoint_url, running.upstash.url]
    services += [one.url for one in (running.gemini, running.stripe) if one]
    return [port for url in services if (port := urlsplit(url).port)]


def environment(running: Stack) -> dict[str, dict[str, str]]:
    """Return the deployed functions' settings as `sam local --env-vars` takes them.

    Addresses of our loopback become those that lead there from a container.
    """
    functions = running.aws.client("lambda")
    found = {}
    for logical_id, name in running.functions.items():
        settings = functions.get_function_configuration(FunctionName=name)["Environment"]
        found[logical_id] = reachable(settings["Variables"])
    return found


def reachable(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with the addresses that a container reaches us by."""
    outside = rf"\g<1>{engine.HOST_NAME}"
    return {name: OUR_LOOPBACK.sub(outside, value) for name, value in settings.items()}


def _parameters(running: Stack) -> list[str]:
    """Return what the stack was deployed with, as the SAM CLI takes it."""
    stacks = running.aws.client("cloudformation")
    [found] = stacks.describe_stacks(StackName=running.stack)["Stacks"]
    given = {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}
    return [f"{name}={value}" for name, value in given.items() if value]
