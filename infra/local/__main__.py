"""The emulated cloud on this machine: `python -m infra.local up`, and what goes with it."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from infra.paths import Home, LocalError

if TYPE_CHECKING:
    from infra.local.up import StripeAccount


def main() -> int:
    """Run one of the commands and return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until _up cares for order, an end is an end
    options = _parser().parse_args()
    home = Home(options.home.resolve())
    commands: dict[str, Callable[[Home, argparse.Namespace], int | None]] = {
        "up": _up,
        "chat": _chat,
        "status": _status,
        "logs": _logs,
        "sam-local": _sam_local,
        "sam-invoke": _sam_invoke,
    }
    try:
        return commands[options.command](home, options) or 0
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(__file__).resolve().parents[2] / ".local",
        help="folder for data, logs and stack.json (default: .local)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="bring everything up and serve until interrupted")
    up.add_argument("--fresh", action="store_true", help="forget users, rooms and messages first")
    up.add_argument(
        "--port", type=int, default=8000, help="port of the API (default: 8000; 0: free ports)"
    )
    up.add_argument(
        "--no-conversation", action="store_true", help="do not walk a first conversation"
    )
    up.add_argument(
        "--gemini-delay",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="how long the Gemini stand-in takes to answer (default: 0.5)",
    )

    chat = commands.add_parser("chat", help="chat in the terminal")
    chat.add_argument("--email", help="log in as this account (default: a new one)")
    chat.add_argument("--password", help="its password")

    commands.add_parser("status", help="say what runs, and where")

    logs = commands.add_parser("logs", help="show what the functions logged")
    logs.add_argument("function", nargs="?", metavar="FUNCTION", help="its logical id")
    logs.add_argument("-n", type=int, default=50, metavar="LINES", help="how many (default: 50)")

    api = commands.add_parser("sam-local", help="serve the API with `sam local`, in containers")
    api.add_argument("--port", type=int, default=3000, help="port of the API (default: 3000)")

    invoke = commands.add_parser("sam-invoke", help="invoke a function once, in a container")
    invoke.add_argument("function", metavar="FUNCTION", help="its logical id")
    invoke.add_argument("event", nargs="?", type=Path, help="default: its file in tests/events")

    for command in commands.choices.values():
        command.add_argument("--home", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def _up(home: Home, options: argparse.Namespace) -> None:
    import asyncio

    from infra.local.up import Options, up

    wanted = Options(
        home=home,
        port=options.port,
        fresh=options.fresh,
        converse=not options.no_conversation,
        gemini_delay=options.gemini_delay,
        gemini_key=os.environ.get("GEMINI_API_KEY") or None,
        stripe=_stripe_account(),
    )

    async def serve() -> None:
        task = asyncio.ensure_future(up(wanted))
        stopping = False

        def stop() -> None:
            nonlocal stopping
            if not stopping:
                stopping = True
                print("\nStopping …", flush=True)
                task.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        try:
            await task
        except asyncio.CancelledError:
            print("Stopped. What was stored is kept: `make up` goes on from here.", flush=True)

    asyncio.run(serve())


def _stripe_account() -> "StripeAccount | None":
    """Return the real account that the environment names, None where it names none."""
    from infra.local.up import StripeAccount

    names = ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_PRICE"]
    values = [os.environ.get(name, "") for name in names]
    if not values[0]:
        return None
    if not values[0].startswith(("sk_test_", "rk_test_")):
        raise LocalError("STRIPE_SECRET_KEY is no key of Stripe's test mode: here nobody pays.")
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise LocalError(
            f"STRIPE_SECRET_KEY is set, so {' and '.join(missing)} must be too "
            "(`stripe listen --forward-to 127.0.0.1:8000/webhook/stripe` shows the secret)."
        )
    return StripeAccount(*values)


def _chat(home: Home, options: argparse.Namespace) -> None:
    from infra.local import chat
    from infra.local.cloud import stack

    if bool(options.email) != bool(options.password):
        raise LocalError("--email and --password go together.")
    chat.chat(stack.running(home).api_url, options.email, options.password)


def _status(home: Home, _options: argparse.Namespace) -> None:
    from infra.local.cloud import stack

    running = stack.running(home)
    gemini = running.gemini.url if running.gemini else "Google (GEMINI_API_KEY is set)"
    stripe = running.stripe.url if running.stripe else "Stripe (STRIPE_SECRET_KEY is set)"
    print(f"""\
API      {running.api_url}
AWS      {running.aws.endpoint_url} (access key and secret: test)
Upstash  {running.upstash.url}
Valkey   {running.valkey.host}:{running.valkey.port}
Gemini   {gemini}
Stripe   {stripe}
Logs     {running.logs}
Since    {running.started_at}, process {running.pid}""")


def _logs(home: Home, options: argparse.Namespace) -> None:
    from infra.local import logs
    from infra.local.cloud import stack

    for line in logs.lines(stack.running(home), options.function, options.n):
        print(line)


def _sam_local(home: Home, options: argparse.Namespace) -> int:
    import asyncio

    from infra.local.cloud import sam

    return asyncio.run(sam.start_api(home, options.port))


def _sam_invoke(home: Home, options: argparse.Namespace) -> int:
    import asyncio

    from infra.local.cloud import sam

    return asyncio.run(sam.invoke(home, options.function, options.event))


if __name__ == "__main__":
    sys.exit(main())
