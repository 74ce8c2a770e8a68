"""The artefacts of `sam build`: every handler runs with its own layers only."""

import asyncio
import functools
import os
import subprocess
from pathlib import Path

import pytest

from infra.local.cloud import build
from infra.paths import BUILD, TOOLS
from tests.support.gemini_answers import CASES, STREAMED, Asked, Case, ask_ours
from tests.support.template import FUNCTIONS, TEMPLATE

MEGABYTES = {"CoreLayer": 20.0, "GeminiLayer": 80.0, "StripeLayer": 20.0}
"""The size limit of each layer, unzipped and with byte-code. Lambda allows 250 in total."""

LAYERS = [
    name
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::Serverless::LayerVersion"
]

PYTHON = [str(TOOLS / "bin" / "python3.13"), "-I", "-S", "-W", "ignore"]
"""A Python with only the standard library."""

IMPORT_ONE = """
import sys
sys.path[:0] = sys.argv[1:]
import app, geminichat
assert callable(app.handler)
compiled = geminichat.__spec__.cached
assert __import__("os").path.exists(compiled), f"{compiled} is missing: no byte-code"
"""


@pytest.fixture(scope="module", autouse=True)
def built(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run `sam build` if anything has changed since the last build."""

    async def make() -> None:
        async with build.lock():
            if not build.is_built():
                await build.build(tmp_path_factory.mktemp("build") / "sam-build.log")

    asyncio.run(make())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_handler_imports_only_from_the_built_artefacts(function: str) -> None:
    done = subprocess.run(
        [*PYTHON, "-c", IMPORT_ONE, *list_module_folders(function)],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr


def list_module_folders(function: str) -> list[Path]:
    """Return the folders with a function's modules: its own folder and its layers' folders."""
    layers = ["CoreLayer", *(layer["Ref"] for layer in FUNCTIONS[function].get("Layers", []))]
    return [BUILD / function, *(BUILD / layer / "python" for layer in layers)]


@functools.cache
def ask_layers() -> Asked:
    return ask_ours(PYTHON, list_module_folders("GeminiWorker"))


@pytest.mark.parametrize("case", [*CASES, *STREAMED], ids=lambda case: case.name)
def test_the_built_layers_handle_every_gemini_answer_as_expected(
    case: Case,
) -> None:
    assert ask_layers().outcomes[case.name] == case.outcome


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_within_its_size_limit(layer: str) -> None:
    size = sum(path.stat().st_size for path in (BUILD / layer).rglob("*") if path.is_file())
    assert size / 1e6 < MEGABYTES[layer]


def test_no_layer_repeats_a_package_of_the_core_layer() -> None:
    core = list_packages(BUILD / "CoreLayer" / "python")
    for layer in set(LAYERS) - {"CoreLayer"}:
        assert list_packages(BUILD / layer / "python") & core == set()


def list_packages(folder: Path) -> set[str]:
    """Return the names of the packages in a folder."""
    return {path.name for path in folder.iterdir()} - {"__pycache__"}
