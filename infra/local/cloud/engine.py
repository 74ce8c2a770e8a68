"""The Docker engine, where this machine has one: `sam local` runs functions in its containers."""

import asyncio
import errno
import functools
import ipaddress
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from infra.local.serving import HOST
from infra.paths import LocalError

HOST_NAME = "host.docker.internal"
"""What a container calls the machine that it runs on."""

ANSWER_TIMEOUT = 20.0
CHUNK = 64 * 1024


def check() -> None:
    """Raise LocalError where no engine answers."""
    _docker("version", "--format", "{{.Server.Version}}")


def has_image(image: str) -> bool:
    """Say whether the image is here, so that none has to be pulled."""
    try:
        _docker("image", "inspect", image)
    except LocalError:
        return False
    return True


@asynccontextmanager
async def reaching_us(ports: Collection[int]) -> AsyncIterator[list[str]]:
    """Let containers reach these ports of our loopback by HOST_NAME while the block runs.

    Yields what SAM has to be told for it. An engine on this machine has an address of ours on its
    containers' bridge: that is where we listen, and nowhere else. One in a virtual machine, such
    as Docker Desktop, has none, and leads HOST_NAME to our loopback by itself.
    """
    bridge = bridge_address(_docker("network", "inspect", "bridge", "-f", "{{json .IPAM.Config}}"))
    async with AsyncExitStack() as exits:
        for port in ports:
            try:
                listening = socket.create_server((bridge, port))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    yield []
                    return
                if error.errno != errno.EADDRINUSE:  # by another `sam local`: it passes on as well
                    raise
            else:
                to_us = functools.partial(_pass_on, port)
                server = await asyncio.start_server(to_us, sock=listening)
                exits.callback(server.close)
        yield ["--add-host", f"{HOST_NAME}:{bridge}"]


def bridge_address(config: str) -> str:
    """Return the engine's own address on a network of that configuration (JSON).

    It is the first of the subnet where an older engine does not name it. Raises LocalError.
    """
    for network in json.loads(config) or []:
        subnet = ipaddress.ip_network(network["Subnet"])
        gateway = ipaddress.ip_address(network.get("Gateway") or subnet[1])
        if gateway.version == 4 and gateway in subnet:
            return str(gateway)
    raise LocalError("Docker's network `bridge` has no IPv4 address for containers to reach us by.")


async def _pass_on(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass a container's connection on to a port of our loopback, both ways, until it ends."""
    with suppress(OSError):
        answers, questions = await asyncio.open_connection(HOST, port)
        await asyncio.gather(_pump(reader, questions), _pump(answers, writer))
        questions.close()
    writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(CHUNK):
            sink.write(chunk)
            await sink.drain()
        sink.write_eof()


def _docker(*arguments: str) -> str:
    """Return what a command of Docker's says. Raises LocalError."""
    try:
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, timeout=ANSWER_TIMEOUT
        )
    except FileNotFoundError as error:
        raise LocalError(
            "Docker is not installed, and `sam local` runs functions in its containers. "
            "`make up` needs none."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise LocalError(f"Docker does not answer within {ANSWER_TIMEOUT:.0f} s.") from error
    if done.returncode:
        said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise LocalError(f"Docker does not answer: {said} Start it and try again.")
    return done.stdout.strip()
