"""The usual way to write an API with FastAPI and Mangum; its routes call work.py.

It has one router, and creates its clients at import, as tutorials do.
"""

import json
import logging
import os
import time
from typing import Annotated

import boto3
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from mangum import Mangum
from work import Credentials, MessageAnswer, NewPrompt, NewRoom, RoomAnswer, RoomsAnswer, Work

logger = logging.getLogger()
logger.setLevel(logging.INFO)
app = FastAPI()
ssm = boto3.client("ssm")
_secrets: dict[str, tuple[float, str]] = {}


def secret(name: str) -> str:
    fetched, value = _secrets.get(name, (0.0, ""))
    if not value or time.monotonic() - fetched > 300:
        answer = ssm.get_parameter(Name=os.environ[name], WithDecryption=True)
        value = answer["Parameter"]["Value"]
        _secrets[name] = (time.monotonic(), value)
    return value


work = Work(secret)


def user_id(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> str:
    user = work.user_of(credentials.credentials)
    if user is None:
        raise HTTPException(401, "Unauthorized")
    return user


Owner = Annotated[str, Depends(user_id)]


@app.get("/health")
def health() -> dict:
    return {"success": True, "message": "The API is up.", "data": {"status": "ok"}}


@app.post("/auth/login")
def login(given: Credentials) -> dict:
    answer = work.log_in(given)
    if answer is None:
        raise HTTPException(401, "Unauthorized")
    return answer


@app.post("/chatroom")
def create_room(new: NewRoom, owner: Owner) -> RoomAnswer:
    return work.create_room(owner, new)


@app.get("/chatroom")
def list_rooms(owner: Owner) -> RoomsAnswer:
    return work.list_rooms(owner)


@app.get("/chatroom/{room_id}/message/{message_id}")
def get_message(room_id: str, message_id: str, owner: Owner) -> MessageAnswer:
    answer = work.get_message(owner, room_id, message_id)
    if answer is None:
        raise HTTPException(404, "Not found")
    return answer


@app.post("/chatroom/{room_id}/message", status_code=202)
def send_message(room_id: str, prompt: NewPrompt, owner: Owner) -> dict:
    return work.send_message(owner, room_id, prompt)


_mangum = Mangum(app, lifespan="off")


def handler(event, context):
    answer = _mangum(event, context)
    logger.info(json.dumps({"route": event["routeKey"], "status": answer["statusCode"]}))
    return answer
