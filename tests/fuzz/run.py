"""One run of Schemathesis against a running API."""

import os
import subprocess
from pathlib import Path

from infra.paths import TOOLS
from infra.running import Stripe as StandIn
from tests.support.http_api import HttpApi
from tests.support.parallel import wait_until
from tests.support.person import Person
from tests.support.standins import Stripe

HERE = Path(__file__).parent
SCHEMATHESIS = TOOLS / "schemathesis" / "bin" / "schemathesis"
PATIENCE = 30.0
"""Seconds for Stripe's event to arrive."""


def new_user(url: str, stand_in: StandIn | None) -> Person:
    """Return a new proven user; with a stand-in for Stripe, the user pays for the pro plan.

    The pro plan has no limit of five prompts per day.
    """
    stripe = Stripe(stand_in.url, stand_in.secret_key) if stand_in else None
    user = Person.new_proven(HttpApi(url), stripe)
    if stripe:
        user.pay()
        wait_until(lambda: user.plan() == "pro", PATIENCE, every=0.2)
    return user


def fuzz(url: str, user: Person, *, seconds: int, seed: int | None = None) -> int:
    """Run Schemathesis with its report on the terminal; return 0 if it found no problem."""
    command = [str(SCHEMATHESIS), "--config-file", str(HERE / "schemathesis.toml")]
    command += ["run", f"{url}/openapi.json", "--max-time", str(seconds)]
    command += ["--seed", str(seed)] if seed is not None else []
    settings = {
        "FUZZ_URL": url,
        "FUZZ_REFRESH_TOKEN": user.refresh_token,
        "FUZZ_HOOKS": str(HERE / "hooks.py"),
        "NO_PROXY": "127.0.0.1,localhost",
    }
    return subprocess.run(command, env=os.environ | settings).returncode
