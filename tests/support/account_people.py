"""People who use the API, what they were sent, and what the tables hold of them."""

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from geminichat.domain.identities import Identity
from geminichat.operations import accounts
from geminichat.tables import identities
from geminichat.tables.codes import Code
from geminichat.tables.identities import Claim
from geminichat.tables.sessions import Session
from geminichat.tables.users import User
from tests.support import post
from tests.support.lambdas import Api, Reply

PASSWORD = "correct horse battery"
OTHER_PASSWORD = "staple staple staple"


def new_email() -> Identity:
    return Identity("email", f"ann-{secrets.token_hex(8)}@example.com")


def new_mobile() -> Identity:
    return Identity("mobile", f"+1{secrets.randbelow(10**10):010}")


@dataclass(frozen=True)
class Person:
    """Someone who says an identity is theirs; `at` in a request is when the gateway got it."""

    api: Api
    identity: Identity = field(default_factory=new_email)

    @property
    def named(self) -> dict[str, str]:
        """The identity as bodies name it."""
        return {self.identity.kind: self.identity.value}

    def sign_up(self, password: str | None = PASSWORD, **more: Any) -> Reply:
        secret = {} if password is None else {"password": password}
        return self.api.post("/auth/signup", self.named | secret, **more)

    def log_in(self, password: str = PASSWORD, **more: Any) -> Reply:
        return self.api.post("/auth/login", self.named | {"password": password}, **more)

    def ask_for_code(self, **more: Any) -> Reply:
        return self.api.post("/auth/send-otp", self.named, **more)

    def verify(self, otp: str, **more: Any) -> Reply:
        return self.api.post("/auth/verify-otp", self.named | {"otp": otp}, **more)

    def forget_password(self, **more: Any) -> Reply:
        return self.api.post("/auth/forgot-password", self.named, **more)

    def reset(self, otp: str, password: str = OTHER_PASSWORD, **more: Any) -> Reply:
        body = self.named | {"otp": otp, "newPassword": password}
        return self.api.post("/auth/reset-password", body, **more)

    def me(self, token: str, **more: Any) -> Reply:
        return self.api.get("/auth/me", token=token, **more)

    def refresh(self, refresh_token: str, **more: Any) -> Reply:
        return self.api.post("/auth/refresh", {"refreshToken": refresh_token}, **more)

    def code(self) -> str:
        """Return the code in the newest message to this identity."""
        return post.code_for(self.identity.value)

    def messages(self) -> list[str]:
        """Return every message to this identity."""
        return post.messages_to(self.identity.value)

    def prove(self, *, at: datetime | None = None) -> Any:
        """Come in by code; return the user and the tokens."""
        assert self.ask_for_code(at=at).status == 200
        reply = self.verify(self.code(), at=at)
        assert reply.status == 200, reply.text
        return reply.data


def problem(reply: Reply, status: int, code: str) -> Reply:
    """Check that the reply is this problem."""
    found = (reply.status, reply.json.get("type"))
    assert found == (status, f"urn:geminichat:problem:{code}"), reply.text
    return reply


def at_once(acts: Sequence[Callable[[], Reply]]) -> list[Reply]:
    """Do all of it at the same moment."""
    with ThreadPoolExecutor(max_workers=len(acts)) as pool:
        return [task.result() for task in [pool.submit(act) for act in acts]]


def claim_on(identity: Identity) -> Claim | None:
    return identities.find(identity)


def users_named(identity: Identity) -> list[User]:
    """Return every user item that carries the identity, claimed or left over."""
    attribute = User.email if identity.kind == "email" else User.mobile
    return list(User.scan(attribute == identity.value, consistent_read=True))


def user_of(identity: Identity) -> User:
    found = accounts.find_by(identity)
    assert found
    return found


def sessions_of(user_id: str) -> list[Session]:
    return list(Session.query(user_id, consistent_read=True))


def code_item(identity: Identity) -> Code:
    return Code.get(identity.key, consistent_read=True)
