"""WebSocket $disconnect: remove a connection that has ended."""

from geminichat.tables import live
from geminichat.websocket import Connection, route


@route
def handler(connection: Connection) -> None:
    """Remove the connection; API Gateway calls this for most connections, not for all."""
    live.close_connection(connection.user_id, connection.id)
