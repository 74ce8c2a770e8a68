"""The CPU time that each file of runtime/ saves per cold start: `python -m tests.bench.savings`.

Each file or function in PAIRS replaces a library, or shortens its import. Our code and the plain
use of the library run in fresh processes, with the packages as PyPI ships them. The lowest CPU
times are compared; runtime/README.md shows the result.
"""

import os
import subprocess
import sys

from infra.paths import ROOT
from tests.bench import trees

ROUNDS = 25
AS_IN_THE_LAYERS = "import sys\nsys.modules.update(dict.fromkeys(('httpx', 'requests')))\n"
TRIM = "from geminichat.runtime import trimmed_imports as trimmed\n"

PAIRS = {
    "aws_client.py": (
        (
            "from geminichat.runtime import aws_client\n"
            "aws_client.Client('dynamodb', connect=1, read=2, attempts=2)"
        ),
        "import boto3\nboto3.client('dynamodb', region_name='eu-central-1')",
    ),
    "http_client.py": (
        "from geminichat.runtime import http_client",
        "import urllib3",
    ),
    "trim_pynamodb": (
        f"{TRIM}with trimmed.trim_pynamodb():\n    import pynamodb.models",
        f"{TRIM}import pynamodb.models",
    ),
    "trim_upstash_redis": (
        f"{TRIM}with trimmed.trim_upstash_redis():\n    import upstash_redis.commands",
        f"{TRIM}import upstash_redis.commands",
    ),
    "trim_stripe": (
        f"{TRIM}{AS_IN_THE_LAYERS}with trimmed.trim_stripe():\n    import stripe",
        f"{TRIM}{AS_IN_THE_LAYERS}import stripe",
    ),
    "trim_powertools_logger": (
        f"{TRIM}with trimmed.trim_powertools_logger():\n    import aws_lambda_powertools.logging",
        f"{TRIM}import aws_lambda_powertools.logging",
    ),
    "trim_pyjwt": (
        f"{TRIM}with trimmed.trim_pyjwt():\n    import jwt",
        f"{TRIM}import jwt",
    ),
}
"""For each file or function: our code, and the plain use of the library."""


def main() -> None:
    """Print the milliseconds of CPU with and without each file or function, and the savings."""
    ready = trees.prepare()
    packages = [ROOT / "layers" / "core", *map(ready.package, ("core", "stripe", "powertools"))]
    path = os.pathsep.join(map(str, packages))
    for name, pair in PAIRS.items():
        ours, theirs = (min(_cpu(code, path) for _ in range(ROUNDS)) for code in pair)
        print(f"{name:24} {ours:6.1f} {theirs:6.1f}  saves {theirs - ours:6.1f} ms")


def _cpu(code: str, path: str) -> float:
    """Return the milliseconds of CPU that a fresh process takes to run the code."""
    env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "AWS_DEFAULT_REGION": "us-east-1"}
    process = subprocess.Popen([trees.PYTHON, "-sS", "-c", code], env=env)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"This code failed:\n{code}")
    return (used.ru_utime + used.ru_stime) * 1e3


if __name__ == "__main__":
    main()
