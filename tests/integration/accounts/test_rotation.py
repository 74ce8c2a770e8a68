"""The rotation of signing keys in SSM, and tokens with the old and the new key."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import boto3
import pytest

from geminichat import config
from geminichat.domain.signing import StoredKeys
from infra.stages import rotate_signing_keys
from tests.support.lambdas import Api
from tests.support.person import Person, check_problem

NOW = datetime.now(UTC)


@pytest.fixture
def parameter(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a new SSM parameter with one signing key."""
    name = f"/geminichat/rotation-{uuid4().hex[:8]}/signing-keys"
    monkeypatch.setenv("SIGNING_KEYS_PARAMETER", name)
    rotate_signing_keys.step(boto3.client("ssm"), name, NOW)
    config.forget_secrets()
    yield name
    config.forget_secrets()


def read_keys(name: str) -> StoredKeys:
    value = boto3.client("ssm").get_parameter(Name=name, WithDecryption=True)
    assert value["Parameter"]["Type"] == "SecureString"
    return StoredKeys.read(value["Parameter"]["Value"])


def test_access_tokens_signed_with_the_old_key_are_valid_until_the_key_is_removed(
    api: Api, parameter: str
) -> None:
    ssm, ann = boto3.client("ssm"), Person(api)
    by_old = ann.sign_up().data["token"]
    first = read_keys(parameter)

    # Adds the new key eleven minutes ago, so that it signs now.
    said = rotate_signing_keys.step(ssm, parameter, NOW - timedelta(minutes=11))
    assert said.startswith("Step 1 of 2")
    config.forget_secrets()
    during = read_keys(parameter)
    assert set(during.keys) == {first.current, during.current}
    by_new = ann.log_in().data["token"]
    for token in (by_old, by_new):
        assert ann.me(token).status == 200

    with pytest.raises(rotate_signing_keys.TooEarly, match="run `make rotate-keys` again after"):
        rotate_signing_keys.step(ssm, parameter, NOW)
    assert read_keys(parameter) == during

    said = rotate_signing_keys.step(ssm, parameter, NOW + timedelta(minutes=30))
    assert said.startswith("Step 2 of 2")
    config.forget_secrets()
    assert set(read_keys(parameter).keys) == {during.current}
    check_problem(ann.me(by_old), 401, "unauthorized")
    assert ann.me(by_new).status == 200


def test_a_new_signing_key_does_not_sign_before_every_function_has_read_it(
    api: Api, parameter: str
) -> None:
    ann = Person(api)
    rotate_signing_keys.step(boto3.client("ssm"), parameter, datetime.now(UTC))
    unaware = ann.sign_up().data["token"]
    config.forget_secrets()
    aware = ann.log_in().data["token"]
    assert unaware.partition(".")[0] == aware.partition(".")[0]


def test_refresh_tokens_and_codes_stay_valid_after_a_rotation_of_signing_keys(
    api: Api, parameter: str
) -> None:
    ssm, ann = boto3.client("ssm"), Person(api)
    tokens = ann.sign_up().data
    ann.ask_for_code()
    rotate_signing_keys.step(ssm, parameter, NOW - timedelta(minutes=11))
    config.forget_secrets()
    assert ann.verify(ann.code()).status == 200

    bob = Person(api)
    refresh = bob.sign_up().data["refreshToken"]
    rotate_signing_keys.step(ssm, parameter, NOW + timedelta(minutes=30))
    config.forget_secrets()
    assert bob.refresh(refresh).status == 200
    check_problem(
        ann.refresh(tokens["refreshToken"]), 401, "unauthorized"
    )  # ended by the first proof


def test_no_step_of_a_rotation_prints_a_signing_key(parameter: str) -> None:
    ssm = boto3.client("ssm")
    said = [rotate_signing_keys.step(ssm, parameter, NOW)]
    keys = list(read_keys(parameter).keys.values())
    said.append(rotate_signing_keys.step(ssm, parameter, NOW + timedelta(hours=1)))
    said.append(rotate_signing_keys.step(ssm, f"{parameter}-new", NOW))
    keys += read_keys(f"{parameter}-new").keys.values()
    assert not any(key in text for key in keys for text in said)


def test_rotating_signing_keys_without_a_running_stack_says_how_to_start_it(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert (
        rotate_signing_keys.main(["local", "--data-folder", str(tmp_path_factory.mktemp("home"))])
        == 1
    )
    assert capsys.readouterr().err == "Nothing is running: start it with `make up`.\n"
