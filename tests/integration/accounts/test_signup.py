"""POST /auth/signup with an email, POST /auth/login, GET /auth/me and GET /user/me."""

import pytest

from tests.support.lambdas import Api
from tests.support.person import PASSWORD, new_email


def test_signing_up_with_an_email_and_a_password_begins_a_session(api: Api) -> None:
    email = new_email().value
    reply = api.post("/auth/signup", {"email": email.upper(), "password": PASSWORD})
    assert reply.status == 201
    assert reply.headers["cache-control"] == "no-store"
    user = reply.data["user"]
    assert (user["email"], user["emailVerified"]) == (email, False)
    assert (user["mobile"], user["mobileVerified"]) == (None, False)
    assert user["plan"] == "basic"
    assert user["usage"]["remaining"] == user["usage"]["limit"] == 5
    assert (reply.data["tokenType"], reply.data["expiresIn"]) == ("Bearer", 900)
    assert reply.data["refreshExpiresIn"] == 30 * 86_400

    for path in ("/auth/me", "/user/me"):
        seen = api.get(path, token=reply.data["token"])
        assert (seen.status, seen.data) == (200, user)


def test_logging_in_with_the_password_begins_another_session(api: Api) -> None:
    email = new_email().value
    first = api.post("/auth/signup", {"email": email, "password": PASSWORD}).data
    reply = api.post("/auth/login", {"email": email.title(), "password": PASSWORD})
    assert reply.status == 200
    assert reply.data["refreshToken"] != first["refreshToken"]
    assert reply.headers["cache-control"] == "no-store"
    assert api.get("/auth/me", token=reply.data["token"]).data == first["user"]


@pytest.mark.parametrize("known", [True, False])
def test_a_wrong_password_and_an_unknown_identity_get_the_same_401(api: Api, known: bool) -> None:
    email = new_email().value
    if known:
        api.post("/auth/signup", {"email": email, "password": PASSWORD})
    reply = api.post("/auth/login", {"email": email, "password": PASSWORD + "!"})
    assert (reply.status, reply.json["type"]) == (401, "urn:geminichat:problem:invalid-credentials")
    assert reply.json["message"] == "The email address, mobile number or password is wrong."
    assert reply.headers["www-authenticate"] == "Bearer"
