"""WebSocket renew: prolong a connection by 15 minutes, or close it if its session has ended."""

from geminichat.clients import connections
from geminichat.tables import live
from geminichat.websocket import Connection, route


@route
def handler(connection: Connection) -> None:
    """Prolong the connection; close it if the connection or its session has ended."""
    is_prolonged = live.prolong_connection(
        connection.user_id, connection.id, connection.session_id, connection.now
    )
    if not is_prolonged:
        connections.close(connection.id)
