"""`sam local`: addresses that a container can reach, and the forwarding of ports."""

import asyncio
import json
import sys
from pathlib import Path

import msgspec
import pytest

from infra.command import CommandError
from infra.local.cloud import docker, sam
from infra.local.serving import HOST
from infra.running import Stripe, Upstash
from tests.support.descriptions import DESCRIPTION

DOCKER = """#!/bin/sh
case "$1" in
  network) echo '%s' ;;
  *) echo "Cannot connect to the Docker daemon." >&2; exit 1 ;;
esac
"""
PING, PONG = b"ping", b"pong"


def test_loopback_addresses_are_replaced_by_addresses_that_a_container_can_reach() -> None:
    settings = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "PROMPTS_QUEUE_URL": "http://localhost:4566/000000000000/p.fifo",
        "GEMINI_ENDPOINT": "",
        "FRONTEND_URL": "https://localhost.example",
        "STAGE": "local",
    }
    assert sam.make_reachable(settings) == settings | {
        "AWS_ENDPOINT_URL": "http://host.docker.internal:4566",
        "PROMPTS_QUEUE_URL": "http://host.docker.internal:4566/000000000000/p.fifo",
    }


def test_only_the_ports_that_functions_call_are_reachable_from_containers() -> None:
    stack = msgspec.structs.replace(
        DESCRIPTION,
        upstash=Upstash(url=f"http://{HOST}:8079", token="t"),
        gemini=None,
        stripe=Stripe(url=f"http://{HOST}:8082", secret_key="sk"),
    )
    assert sam.ports(stack) == [4566, 8079, 8082]


@pytest.mark.parametrize(
    ("config", "address"),
    [
        ('[{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]', "172.17.0.1"),
        ('[{"Subnet": "172.17.0.0/16"}]', "172.17.0.1"),
        ('[{"Subnet": "fd00::/64"}, {"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.9"}]', "10.9.0.9"),
    ],
)
def test_the_address_of_docker_is_read_from_its_bridge(config: str, address: str) -> None:
    assert docker.bridge_address(config) == address


@pytest.mark.parametrize("config", ["null", "[]", '[{"Subnet": "fd00::/64"}]'])
def test_a_bridge_without_an_ipv4_address_is_an_error(config: str) -> None:
    with pytest.raises(CommandError, match="no IPv4 address"):
        docker.bridge_address(config)


def put_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, gateway: str) -> None:
    """Put a `docker` command on PATH; it can only describe its bridge network."""
    config = json.dumps([{"Subnet": f"{gateway}/8", "Gateway": gateway}])
    command = folder / "docker"
    command.write_text(DOCKER % config.replace(f"{gateway}/8", "0.0.0.0/0"))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.mark.skipif(sys.platform == "darwin", reason="one loopback address only")
def test_connections_to_the_bridge_are_forwarded_to_the_loopback_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_docker(tmp_path, monkeypatch, "127.0.0.2")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).replace(PING, PONG))
        writer.close()

    async def ask(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.2", port)
        writer.write(PING)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 5)

    async def forward() -> None:
        server = await asyncio.start_server(answer, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        async with docker.reachable_ports([port]) as options:
            assert options == ["--add-host", "host.docker.internal:127.0.0.2"]
            assert await ask(port) == PONG
            async with docker.reachable_ports([port]) as same:
                assert same == options, "another command forwards the port already"
            assert await ask(port) == PONG
        with pytest.raises(ConnectionRefusedError):
            await ask(port)
        server.close()

    asyncio.run(forward())


def test_with_docker_in_a_virtual_machine_no_port_is_forwarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_docker(tmp_path, monkeypatch, "192.0.2.1")

    async def forward() -> list[str]:
        async with docker.reachable_ports([9]) as options:
            return options

    assert asyncio.run(forward()) == []


def test_an_unresponsive_docker_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_docker(tmp_path, monkeypatch, "192.0.2.1")
    with pytest.raises(CommandError) as failure:
        docker.check()
    assert str(failure.value) == (
        "Docker does not answer: Cannot connect to the Docker daemon. Start Docker and try again."
    )
    assert not docker.has_image("python")


def test_the_error_without_docker_says_that_make_up_does_not_need_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match=r"^Docker is not installed.*`make up` does not need it"):
        docker.check()
