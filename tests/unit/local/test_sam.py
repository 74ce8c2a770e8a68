"""What `sam local` is told: settings that lead out of a container, and the way that they lead."""

import asyncio
import json
import sys
from pathlib import Path

import msgspec
import pytest

from infra.local.cloud import engine, sam, stack
from infra.local.serving import HOST
from infra.paths import LocalError
from tests.support.descriptions import DESCRIPTION

DOCKER = """#!/bin/sh
case "$1" in
  network) echo '%s' ;;
  *) echo "Cannot connect to the Docker daemon." >&2; exit 1 ;;
esac
"""
PING, PONG = b"ping", b"pong"


def test_addresses_of_our_loopback_become_ones_that_a_container_reaches() -> None:
    settings = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "PROMPTS_QUEUE_URL": "http://localhost:4566/000000000000/p.fifo",
        "GEMINI_ENDPOINT": "",
        "FRONTEND_URL": "https://localhost.example",
        "STAGE": "local",
    }
    assert sam.reachable(settings) == settings | {
        "AWS_ENDPOINT_URL": "http://host.docker.internal:4566",
        "PROMPTS_QUEUE_URL": "http://host.docker.internal:4566/000000000000/p.fifo",
    }


def test_containers_reach_what_functions_call_and_nothing_else() -> None:
    running = msgspec.structs.replace(
        DESCRIPTION,
        upstash=stack.Upstash(url=f"http://{HOST}:8079", token="t", faults_url=""),
        gemini=None,
        stripe=stack.Stripe(url=f"http://{HOST}:8082", secret_key="sk", faults_url=""),
    )
    assert sam.ports(running) == [4566, 8079, 8082]


@pytest.mark.parametrize(
    ("config", "address"),
    [
        ('[{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]', "172.17.0.1"),
        ('[{"Subnet": "172.17.0.0/16"}]', "172.17.0.1"),
        ('[{"Subnet": "fd00::/64"}, {"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.9"}]', "10.9.0.9"),
    ],
)
def test_the_engines_address_is_read_from_its_bridge(config: str, address: str) -> None:
    assert engine.bridge_address(config) == address


@pytest.mark.parametrize("config", ["null", "[]", '[{"Subnet": "fd00::/64"}]'])
def test_a_bridge_without_an_address_is_told(config: str) -> None:
    with pytest.raises(LocalError, match="no IPv4 address"):
        engine.bridge_address(config)


def put_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, gateway: str) -> None:
    """Have a stand-in for Docker's command found first: it only knows its bridge."""
    config = json.dumps([{"Subnet": f"{gateway}/8", "Gateway": gateway}])
    command = folder / "docker"
    command.write_text(DOCKER % config.replace(f"{gateway}/8", "0.0.0.0/0"))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.mark.skipif(sys.platform == "darwin", reason="one loopback address only")
def test_what_comes_to_the_bridge_is_passed_on_to_our_loopback(
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

    async def walk() -> None:
        server = await asyncio.start_server(answer, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        async with engine.reaching_us([port]) as way:
            assert way == ["--add-host", "host.docker.internal:127.0.0.2"]
            assert await ask(port) == PONG
            async with engine.reaching_us([port]) as again:
                assert again == way, "another command finds the way there already"
            assert await ask(port) == PONG
        with pytest.raises(ConnectionRefusedError):
            await ask(port)
        server.close()

    asyncio.run(walk())


def test_an_engine_in_a_virtual_machine_knows_the_way_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_docker(tmp_path, monkeypatch, "192.0.2.1")

    async def walk() -> list[str]:
        async with engine.reaching_us([9]) as way:
            return way

    assert asyncio.run(walk()) == []


def test_an_engine_that_does_not_answer_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_docker(tmp_path, monkeypatch, "192.0.2.1")
    with pytest.raises(LocalError) as told:
        engine.check()
    assert str(told.value) == (
        "Docker does not answer: Cannot connect to the Docker daemon. Start it and try again."
    )
    assert not engine.has_image("python")


def test_a_machine_without_docker_is_told_what_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match=r"^Docker is not installed.*`make up` needs none\.$"):
        engine.check()
