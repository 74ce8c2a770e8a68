"""The work of the FastAPI and Powertools references: pydantic, boto3, PyJWT and Upstash."""

import base64
import json
import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import boto3
import jwt
from argon2 import PasswordHasher
from boto3.dynamodb.conditions import Key
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from upstash_redis import Redis

dynamodb = boto3.resource("dynamodb")
users = dynamodb.Table(os.environ["USERS_TABLE"])
identities = dynamodb.Table(os.environ["IDENTITIES_TABLE"])
sessions = dynamodb.Table(os.environ["SESSIONS_TABLE"])
rooms = dynamodb.Table(os.environ["CHATROOMS_TABLE"])
messages = dynamodb.Table(os.environ["MESSAGES_TABLE"])
sqs = boto3.client("sqs")
hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class NewRoom(Model):
    title: str | None = Field(default=None, max_length=120)
    system_instruction: str | None = Field(default=None, max_length=4000)
    model: str | None = None


class NewPrompt(Model):
    content: str = Field(min_length=1, max_length=16000)


class Credentials(Model):
    email: str = Field(max_length=254)
    password: str = Field(min_length=8, max_length=128)


class Room(Model):
    id: str
    title: str
    system_instruction: str | None
    model: str
    created_at: str
    updated_at: str


class Message(Model):
    id: str
    sender: str
    content: str
    created_at: str
    status: str | None = None


class RoomAnswer(Model):
    success: bool = True
    message: str
    data: Room


class RoomsAnswer(Model):
    success: bool = True
    message: str
    data: list[Room]


class MessageAnswer(Model):
    success: bool = True
    message: str
    data: Message


class Work:
    """The work of each route; `secret` reads the SSM parameter that a variable names."""

    def __init__(self, secret: Callable[[str], str]) -> None:
        self._secret = secret
        self._redis: Redis | None = None

    def redis(self) -> Redis:
        if self._redis is None:
            token = self._secret("UPSTASH_TOKEN_PARAMETER")
            self._redis = Redis(url=os.environ["UPSTASH_URL"], token=token)
        return self._redis

    def signing_key(self, kid: str) -> bytes:
        keys = json.loads(self._secret("SIGNING_KEYS_PARAMETER"))["keys"]
        return base64.urlsafe_b64decode(keys[kid])

    def user_of(self, token: str) -> str | None:
        """Return the id of an access token's user, or None if the token is invalid."""
        try:
            kid = jwt.get_unverified_header(token)["kid"]
            claims = jwt.decode(
                token,
                self.signing_key(kid),
                algorithms=["HS256"],
                audience="geminichat-api",
                issuer="geminichat",
            )
        except (jwt.InvalidTokenError, KeyError):
            return None
        return str(claims["sub"])

    def log_in(self, given: Credentials) -> dict | None:
        record = identities.get_item(Key={"identity": f"email:{given.email}"}).get("Item")
        if record is None:
            return None
        user = users.get_item(Key={"user_id": record["user_id"]})["Item"]
        hasher.verify(user["password_hash"], given.password)
        session_id = uuid.uuid4().hex
        sessions.put_item(Item={"user_id": user["user_id"], "session_id": session_id})
        claims = {"sub": user["user_id"], "sid": session_id, "exp": int(time.time()) + 900}
        key = self.signing_key("k1")
        token = jwt.encode(claims, key, algorithm="HS256", headers={"kid": "k1"})
        return {"success": True, "message": "Logged in.", "data": {"token": token}}

    def create_room(self, owner: str, new: NewRoom) -> RoomAnswer:
        moment = now()
        room = {
            "user_id": owner,
            "chatroom_id": uuid.uuid4().hex,
            "title": new.title or "New Chat",
            "model": new.model or "gemini-3.6-flash",
            "last_seq": 0,
            "created_at": moment,
            "updated_at": moment,
        }
        self.redis().delete(f"rooms:{owner}")
        rooms.put_item(Item=room)
        return RoomAnswer(message="Chatroom created.", data=show_room(room))

    def list_rooms(self, owner: str) -> RoomsAnswer:
        kept = self.redis().get(f"rooms:{owner}")
        if isinstance(kept, str):
            return RoomsAnswer.model_validate_json(kept)
        found = rooms.query(
            IndexName="by-activity",
            KeyConditionExpression=Key("user_id").eq(owner),
            Limit=20,
            ScanIndexForward=False,
        )
        shown = [show_room(room) for room in found["Items"]]
        answer = RoomsAnswer(message="Chatrooms.", data=shown)
        self.redis().set(f"rooms:{owner}", answer.model_dump_json(by_alias=True), ex=600)
        return answer

    def get_message(self, owner: str, room_id: str, message_id: str) -> MessageAnswer | None:
        seq = int(message_id.rpartition("_")[2])
        room = rooms.get_item(Key={"user_id": owner, "chatroom_id": room_id}).get("Item")
        found = messages.get_item(Key={"chatroom_id": room_id, "seq": seq}).get("Item")
        if room is None or found is None:
            return None
        return MessageAnswer(
            message="Message found.",
            data=Message(
                id=message_id,
                sender=found["sender"],
                content=found["content"],
                created_at=found["created_at"],
                status=found.get("status"),
            ),
        )

    def send_message(self, owner: str, room_id: str, prompt: NewPrompt) -> dict:
        moment = now()
        self.redis().incr(f"quota:{owner}:{moment[:10]}")
        room = rooms.update_item(
            Key={"user_id": owner, "chatroom_id": room_id},
            UpdateExpression="ADD last_seq :two SET updated_at = :now",
            ConditionExpression="attribute_exists(chatroom_id)",
            ExpressionAttributeValues={":two": 2, ":now": moment},
            ReturnValues="ALL_NEW",
        )["Attributes"]
        seq = int(room["last_seq"]) - 1
        messages.put_item(
            Item={
                "chatroom_id": room_id,
                "seq": seq,
                "user_id": owner,
                "sender": "user",
                "content": prompt.content,
                "model": room["model"],
                "status": "queued",
                "created_at": moment,
            },
            ConditionExpression="attribute_not_exists(seq)",
        )
        job = uuid.uuid4().hex
        sqs.send_message(
            QueueUrl=os.environ["PROMPTS_QUEUE_URL"],
            MessageBody=json.dumps({"chatroomId": room_id, "seq": seq}),
            MessageGroupId=room_id,
            MessageDeduplicationId=job,
        )
        return {"success": True, "message": "Accepted.", "data": {"messageId": seq, "jobId": job}}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def show_room(room: dict) -> Room:
    return Room(
        id=room["chatroom_id"],
        title=room["title"],
        system_instruction=room.get("system_instruction"),
        model=room["model"],
        created_at=room["created_at"],
        updated_at=room["updated_at"],
    )
