"""A system of its own: stopped, killed and started again, and with keys for Google and Stripe."""

import os
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.local.standins.stripe.events import sign
from tests.support.deployed import RunningStack, running
from tests.support.person import Person


@pytest.mark.timeout(400)  # three starts, two of which deploy
class TestRestart:
    """A stack of its own, stopped and started user."""

    def test_what_was_stored_survives_and_nothing_outlives_the_stack(self, tmp_path: Path) -> None:
        with running(tmp_path / "home") as first:
            user = first.new_user()
            room = user.open_room("Kept")
            sent = user.sent(room, "Remember me")
            user.wait(room, sent, seconds=60)
        assert is_quiet(first)

        with running(tmp_path / "home") as second:
            assert second.url == first.url
            assert user.log_in().status == 200
            kept = user.look(room, sent)
            assert kept["reply"]["content"] == "You said: Remember me (turn 1)"
            answer = user.wait(room, user.sent(room, "Still there?"), 60)
            assert "before that: Remember me" in answer["reply"]["content"]

            os.kill(second.description.pid, signal.SIGKILL)
            assert is_quiet(second)

        with running(tmp_path / "home", "--fresh") as third:
            assert Person(third.api, user.identity).log_in().status == 401


@pytest.mark.timeout(200)  # it builds, where no test did before, and deploys
def test_with_keys_in_the_environment_google_and_stripe_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is as far as it can be seen without an account: they are not asked here."""
    monkeypatch.setenv("GEMINI_API_KEY", "key")
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_key")
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_listening")
    monkeypatch.setenv("STRIPE_PRICE", "price_pro")
    with running(tmp_path / "home") as stack:
        assert (stack.description.gemini, stack.description.stripe) == (None, None)
        [settings] = {
            tuple(live["Environment"]["Variables"][name] for name in ENDPOINTS)
            for live in (
                stack.aws("lambda").get_function_configuration(FunctionName=name, Qualifier="live")
                for name in stack.description.functions.values()
            )
        }
        assert settings == ("", "", "price_pro")

        body = '{"id": "evt_1", "object": "event", "type": "x", "livemode": false, "created": 1}'
        for secret, status in (("whsec_listening", 200), ("whsec_other", 400)):
            signed = {"stripe-signature": sign(body, [secret], int(time.time()))}
            answer = stack.http.post("/webhook/stripe", content=body, headers=signed)
            assert answer.status_code == status, answer.text


ENDPOINTS = ("GEMINI_ENDPOINT", "STRIPE_ENDPOINT", "STRIPE_PRICE")


def is_quiet(stack: RunningStack, within: float = 30.0) -> bool:
    """Say whether nothing listens any more where the stack did, and no process is left."""
    described = stack.description
    urls = [described.api_url, described.aws.endpoint_url, described.upstash.url, stack.gemini.url]
    ports = [urlsplit(url).port or 0 for url in urls] + [described.valkey.port]
    deadline = time.monotonic() + within
    while any(map(answers, ports)) or processes_of(stack.folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def processes_of(folder: Path) -> list[int]:
    """Return the processes whose command, environment or directory names the folder (on Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            told += os.fsencode((process / "cwd").readlink())
        except OSError:
            continue
        if os.fsencode(folder) in told and process.name != str(os.getpid()):
            found.append(int(process.name))
    return found
