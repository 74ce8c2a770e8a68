"""One run of Schemathesis against a running API."""

import os
import secrets
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from infra.local.cloud import stack
from infra.local.standins.stripe.driver import Stripe
from infra.paths import TOOLS

HERE = Path(__file__).parent
SCHEMATHESIS = TOOLS / "schemathesis" / "bin" / "schemathesis"
PATIENCE = 30.0
"""Seconds for Stripe's event to arrive."""


@dataclass(frozen=True)
class User:
    """Who the run is to the API: a new account and its session."""

    token: str
    refresh_token: str


def new_user(url: str) -> User:
    """Sign somebody up."""
    body = {"email": f"fuzz-{secrets.token_hex(8)}@example.com", "password": secrets.token_hex()}
    answer = httpx.post(f"{url}/auth/signup", json=body, timeout=40, trust_env=False)
    answer.raise_for_status()
    data = answer.json()["data"]
    return User(token=data["token"], refresh_token=data["refreshToken"])


def subscribe(url: str, user: User, stand_in: stack.Stripe) -> None:
    """Pay for the pro plan: without a daily limit, more prompts are taken on than five."""
    stripe = Stripe(stand_in.url, stand_in.secret_key)
    bearer = {"authorization": f"Bearer {user.token}"}
    with httpx.Client(base_url=url, headers=bearer, timeout=40, trust_env=False) as http:
        page = http.post("/subscribe/pro").raise_for_status().json()
        stripe.turn(page["data"]["sessionId"], "pay")
        deadline = time.monotonic() + PATIENCE
        while http.get("/subscription/status").json()["data"]["plan"] != "pro":
            if time.monotonic() > deadline:
                raise TimeoutError("The payment did not make the user pro.")
            time.sleep(0.2)


def fuzz(url: str, user: User, *, seconds: int, seed: int | None = None) -> int:
    """Run it, its report on the terminal; return 0 where all was well."""
    command = [str(SCHEMATHESIS), "--config-file", str(HERE / "schemathesis.toml")]
    command += ["run", f"{url}/openapi.json", "--max-time", str(seconds)]
    command += ["--seed", str(seed)] if seed is not None else []
    told = {
        "FUZZ_URL": url,
        "FUZZ_REFRESH_TOKEN": user.refresh_token,
        "FUZZ_HOOKS": str(HERE / "hooks.py"),
        "NO_PROXY": "127.0.0.1,localhost",
    }
    return subprocess.run(command, env=os.environ | told).returncode
