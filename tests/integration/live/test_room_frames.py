"""The frame about a new title of a room."""

import json
from collections.abc import Sequence

from tests.support.lambdas import Api, Poller
from tests.support.person import Person
from tests.support.sockets import Connections, Socket
from tests.support.standins import StandIn
from tests.support.template import Values


def connect(person: Person) -> Socket:
    socket = Socket(person.post("/live").data["url"])
    assert socket.status == 200
    return socket


def post_title(
    api: Api, worker: Poller, values: Values, connections: Connections
) -> tuple[str, Sequence[str], list[tuple[str, object]]]:
    """Title the room of a user with two connections; return the room, connections and posts."""
    ann, other = Person.new(api), Person.new(api)
    mine = [connect(ann).id, connect(ann).id]
    connect(other)
    room = ann.open_room()
    ann.ask(room)
    worker.drain()
    connections.posted.clear()  # the frames of the reply
    Poller([values.refs["TitlesQueue"]], "TitlesGenerate", batch_size=1).drain()
    return room, mine, [(one, json.loads(frame)) for one, frame in connections.posted]


def test_a_frame_about_a_new_title_is_posted_only_to_the_connections_of_the_rooms_user(
    api: Api, worker: Poller, values: Values, connections: Connections
) -> None:
    room, mine, posts = post_title(api, worker, values, connections)
    assert {one for one, _ in posts} == set(mine)
    assert [frame for _, frame in posts] == [{"type": "room", "chatroomId": room}] * 2


def test_a_frame_about_a_new_title_is_posted_even_if_gemini_fails(
    api: Api, worker: Poller, values: Values, connections: Connections, google: StandIn
) -> None:
    google.fault("error", match="---", times="always")
    room, mine, posts = post_title(api, worker, values, connections)
    assert [frame for _, frame in posts] == [{"type": "room", "chatroomId": room}] * len(mine)
