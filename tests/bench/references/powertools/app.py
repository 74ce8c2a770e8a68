"""The usual way to write an API with Powertools, validation included; its routes call work.py.

It has one router, and creates its clients at import, as Powertools' documentation does.
"""

import os

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError, UnauthorizedError
from aws_lambda_powertools.utilities import parameters
from work import Credentials, MessageAnswer, NewPrompt, NewRoom, RoomAnswer, RoomsAnswer, Work

logger = Logger(service="usual")
app = APIGatewayHttpResolver(enable_validation=True)


def secret(name: str) -> str:
    return str(parameters.get_parameter(os.environ[name], decrypt=True, max_age=300))


work = Work(secret)


def user_id() -> str:
    scheme, _, token = app.current_event.headers.get("authorization", "").partition(" ")
    user = work.user_of(token) if scheme.lower() == "bearer" else None
    if user is None:
        raise UnauthorizedError("Unauthorized")
    return user


@app.get("/health")
def health() -> dict:
    return {"success": True, "message": "The API is up.", "data": {"status": "ok"}}


@app.post("/auth/login")
def login(given: Credentials) -> dict:
    answer = work.log_in(given)
    if answer is None:
        raise UnauthorizedError("Unauthorized")
    return answer


@app.post("/chatroom")
def create_room(new: NewRoom) -> RoomAnswer:
    return work.create_room(user_id(), new)


@app.get("/chatroom")
def list_rooms() -> RoomsAnswer:
    return work.list_rooms(user_id())


@app.get("/chatroom/<room_id>/message/<message_id>")
def get_message(room_id: str, message_id: str) -> MessageAnswer:
    answer = work.get_message(user_id(), room_id, message_id)
    if answer is None:
        raise NotFoundError("Not found")
    return answer


@app.post("/chatroom/<room_id>/message")
def send_message(room_id: str, prompt: NewPrompt) -> Response[dict]:
    body = work.send_message(user_id(), room_id, prompt)
    return Response(status_code=202, content_type=content_types.APPLICATION_JSON, body=body)


@logger.inject_lambda_context
def handler(event, context):
    answer = app.resolve(event, context)
    logger.info("request", extra={"route": event["routeKey"], "status": answer["statusCode"]})
    return answer
