"""WebSocket $connect: store a connection; close the user's oldest one if there are too many."""

from geminichat import metrics
from geminichat.clients import connections
from geminichat.tables import live
from geminichat.websocket import Connection, route


@route
def handler(connection: Connection) -> None:
    """Accept the connection if its ticket is unused and its session has not ended."""
    replaced = live.open_connection(
        connection.user_id,
        connection.id,
        connection.session_id,
        connection.nonce,
        connection.now,
    )
    for connection_id in replaced:
        connections.close(connection_id)
    metrics.emit(ConnectionsOpened=1)
