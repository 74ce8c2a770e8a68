"""Serve an aiohttp application on an address of this machine."""

import socket
import ssl

from aiohttp import web

HOST = "127.0.0.1"
STOP_TIMEOUT = 1.0
"""Seconds that a stopping server waits for running requests."""


async def serve(
    app: web.Application, port: int = 0, tls: ssl.SSLContext | None = None
) -> tuple[web.AppRunner, str]:
    """Serve on a port (0: any free port); return the runner, which has `cleanup()`, and the URL.

    Raises OSError if the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_TIMEOUT)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port, ssl_context=tls)
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    address = runner.addresses[0]
    return runner, f"{'https' if tls else 'http'}://{HOST}:{address[1]}"


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(preferred: int = 0) -> int:
    """Return the preferred port if it is free, else any free port."""
    if preferred and is_free(preferred):
        return preferred
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
