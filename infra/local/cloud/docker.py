"""The Docker engine; `sam local` runs functions in Docker containers."""

import asyncio
import errno
import functools
import ipaddress
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from infra.command import CommandError
from infra.local.serving import HOST

HOST_NAME = "host.docker.internal"
"""The name of this machine inside a container."""

ANSWER_TIMEOUT = 20.0
CHUNK = 64 * 1024


def check() -> None:
    """Raise CommandError if no engine answers."""
    _docker("version", "--format", "{{.Server.Version}}")


def has_image(image: str) -> bool:
    """Return whether the image is already on this machine."""
    try:
        _docker("image", "inspect", image)
    except CommandError:
        return False
    return True


@asynccontextmanager
async def reachable_ports(ports: Collection[int]) -> AsyncIterator[list[str]]:
    """Make these ports of our loopback reachable from containers while the block runs.

    Containers use the name HOST_NAME, which SAM learns from the yielded arguments. If the engine
    runs on this machine, we listen at the engine's IP address on the containers' network, and
    forward connections. If the engine runs in a virtual machine, such as Docker Desktop, HOST_NAME
    already leads to our loopback.
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
                if error.errno != errno.EADDRINUSE:  # another `sam local` forwards this port
                    raise
            else:
                forward = functools.partial(_forward, port)
                server = await asyncio.start_server(forward, sock=listening)
                exits.callback(server.close)
        yield ["--add-host", f"{HOST_NAME}:{bridge}"]


def bridge_address(config: str) -> str:
    """Return the engine's IP address on a network with this configuration (JSON).

    An older engine does not report its IP address, but always has the subnet's first address.
    Raises CommandError if there is no IPv4 address.
    """
    for network in json.loads(config) or []:
        subnet = ipaddress.ip_network(network["Subnet"])
        gateway = ipaddress.ip_address(network.get("Gateway") or subnet[1])
        if gateway.version == 4 and gateway in subnet:
            return str(gateway)
    raise CommandError(
        "Docker's network `bridge` has no IPv4 address, so containers cannot reach this machine."
    )


async def _forward(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward a container's connection to a port of our loopback until the connection ends."""
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
    """Return the output of a Docker command. Raises CommandError."""
    try:
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, timeout=ANSWER_TIMEOUT
        )
    except FileNotFoundError as error:
        raise CommandError(
            "Docker is not installed. `sam local` needs Docker; `make up` does not need it."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"Docker did not answer within {ANSWER_TIMEOUT:.0f} s.") from error
    if done.returncode:
        reason = (done.stderr.strip() or "it printed nothing").splitlines()[-1]
        raise CommandError(f"Docker does not answer: {reason} Start Docker and try again.")
    return done.stdout.strip()
