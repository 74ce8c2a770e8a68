"""The system after a stop, a kill and a fresh start with API keys of Google and Stripe."""

import os
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.local.standins.stripe.events import sign
from tests.support.deployed import RunningStack, run_system
from tests.support.parallel import wait_until
from tests.support.person import Person


@pytest.mark.timeout(600)  # the system starts three times and is deployed twice
def test_a_restart_keeps_all_data_and_a_fresh_start_deletes_all_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_system(tmp_path / "home") as first:
        user = first.new_user()
        room = user.open_room("Kept")
        sent = user.ask(room, "Remember me")
        user.wait(room, sent)
    wait_until_quiet(first)

    with run_system(tmp_path / "home") as second:
        assert second.url == first.url
        assert user.log_in().status == 200
        kept = user.fetch_message(room, sent)
        assert kept["reply"]["content"] == "You said: Remember me (turn 1)"
        answer = user.wait(room, user.ask(room, "Still there?"))
        assert "before that: Remember me" in answer["reply"]["content"]

        os.kill(second.description.pid, signal.SIGKILL)
        wait_until_quiet(second)

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with run_system(tmp_path / "home", "--fresh") as third:
        assert Person(third.api, user.identity).log_in().status == 401
        check_google_and_stripe_are_used(third)


KEYS = {
    "GEMINI_API_KEY": "key",
    "STRIPE_SECRET_KEY": "sk_test_key",
    "STRIPE_WEBHOOK_SECRET": "whsec_listening",
    "STRIPE_PRICE": "price_pro",
}


def check_google_and_stripe_are_used(stack: RunningStack) -> None:
    """Check that the functions are set to call Google and Stripe instead of the stand-ins."""
    assert (stack.description.gemini, stack.description.stripe) == (None, None)
    live = {name: stack.live_settings(name) for name in stack.description.functions}
    assert live["GeminiWorker"]["GEMINI_ENDPOINT"] == ""
    assert live["SubscriptionCheckout"]["STRIPE_ENDPOINT"] == ""
    assert live["SubscriptionCheckout"]["STRIPE_PRICE"] == "price_pro"

    body = '{"id": "evt_1", "object": "event", "type": "x", "livemode": false, "created": 1}'
    for secret, status in (("whsec_listening", 200), ("whsec_other", 400)):
        signed = {"stripe-signature": sign(body, [secret], int(time.time()))}
        answer = stack.http.post("/webhook/stripe", content=body, headers=signed)
        assert answer.status_code == status, answer.text


def wait_until_quiet(stack: RunningStack) -> None:
    """Wait until all ports are closed and all processes have ended."""
    described = stack.description
    urls = [described.api_url, described.aws.endpoint_url, described.upstash.url, stack.gemini.url]
    ports = [urlsplit(url).port or 0 for url in urls] + [described.valkey.port]
    wait_until(
        lambda: not any(map(is_open, ports)) and not list_processes(stack.folder),
        seconds=30,
        every=0.1,
    )


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def list_processes(folder: Path) -> list[int]:
    """Return the ids of processes that name the folder in command, environment or directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            names = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            names += os.fsencode((process / "cwd").readlink())
        except OSError:
            continue
        if os.fsencode(folder) in names and process.name != str(os.getpid()):
            found.append(int(process.name))
    return found
