"""Run the whole system on this machine, on an emulated AWS."""

import argparse
import asyncio
import os
import random
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from infra import running
from infra.command import CommandError
from infra.local.data_folder import DataFolder
from infra.paths import TOOLS

if TYPE_CHECKING:
    from infra.local.up import StripeAccount

type Command = Callable[[DataFolder, argparse.Namespace], int | None]


def main() -> int:
    """Run the command that the arguments name, and return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends every command at once, except `up`
    options = _parser().parse_args()
    folder = DataFolder(options.data_folder.resolve())
    try:
        return options.run(folder, options) or 0
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument(
        "--data-folder",
        type=Path,
        default=TOOLS,
        metavar="FOLDER",
        help="folder for data, logs and stack.json (default: .local)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about)
        command.set_defaults(run=run)
        command.add_argument(
            "--data-folder", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        return command

    up = add("up", _up, "start the system and serve until interrupted")
    up.add_argument(
        "--fresh", action="store_true", help="delete all users, rooms and messages first"
    )
    up.add_argument(
        "--port", default="8000", help="port of the API (default: 8000; 0: any free port)"
    )
    up.add_argument(
        "--parameters",
        default="",
        metavar="NAME=VALUE…",
        help="parameters of template.yaml, such as 'SignupsPerAddress=20 Titles=false'",
    )
    up.add_argument(
        "--no-reload", action="store_true", help="ignore changes of the code while the system runs"
    )
    up.add_argument("--no-conversation", action="store_true", help="skip the first conversation")
    up.add_argument(
        "--gemini-delay",
        type=float,
        default=1.5,
        metavar="SECONDS",
        help="seconds that the Gemini stand-in takes to reply (default: 1.5)",
    )

    chat = add("chat", _chat, "chat in the terminal")
    chat.add_argument("--email", help="the account to log in to (default: a new account)")
    chat.add_argument("--password", help="password for --email")

    chaos = add("chaos", _chaos, "use the running system while its parts fail, and audit the data")
    chaos.add_argument("--seed", help="repeat the run with this seed (default: a new run)")
    chaos.add_argument(
        "--minutes", type=float, default=2, help="minutes of requests and faults (default: 2)"
    )

    add("status", _status, "show the addresses of the running system")
    add("url", _url, "show the address of the API only")

    logs = add("logs", _logs, "show the functions' logs")
    logs.add_argument(
        "function", nargs="?", metavar="FUNCTION", help="logical id of a function (default: all)"
    )
    logs.add_argument(
        "-n", type=int, default=50, metavar="LINES", help="number of log lines (default: 50)"
    )

    api = add("sam-local", _sam_local, "serve the API with `sam local`, in Docker")
    api.add_argument("--port", default="3000", help="port of the API (default: 3000)")

    invoke = add("sam-invoke", _sam_invoke, "invoke a function once, in Docker")
    invoke.add_argument("function", metavar="FUNCTION", help="logical id of the function")
    invoke.add_argument(
        "event",
        nargs="?",
        type=Path,
        help="file with the event (default: the function's sample event)",
    )

    return parser


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise CommandError(f"{text} is not a port: choose a number from 1 to 65535.")
    return int(text)


def _up(folder: DataFolder, options: argparse.Namespace) -> None:
    from infra.local import parameters
    from infra.local.up import Options, up

    chosen = Options(
        folder=folder,
        port=_port(options.port),
        parameters=parameters.parse(options.parameters),
        fresh=options.fresh,
        converse=not options.no_conversation,
        reload=not options.no_reload,
        gemini_delay=options.gemini_delay,
        gemini_key=os.environ.get("GEMINI_API_KEY") or None,
        stripe=_stripe_account(),
    )

    async def serve() -> None:
        task = asyncio.ensure_future(up(chosen))
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
            print("Stopped. The data is kept for the next `make up`.", flush=True)

    asyncio.run(serve())


def _stripe_account() -> "StripeAccount | None":
    """Return the Stripe account in the environment, or None. Raises CommandError."""
    from infra.local.up import StripeAccount

    names = ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_PRICE"]
    values = [os.environ.get(name, "") for name in names]
    if not values[0]:
        return None
    if not values[0].startswith(("sk_test_", "rk_test_")):
        raise CommandError(
            "STRIPE_SECRET_KEY is not a test-mode key. Only test mode is allowed on this machine."
        )
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise CommandError(
            f"STRIPE_SECRET_KEY is set, so {' and '.join(missing)} must be set, too "
            "(`stripe listen --forward-to 127.0.0.1:8000/webhook/stripe` prints the secret)."
        )
    return StripeAccount(*values)


def _chat(folder: DataFolder, options: argparse.Namespace) -> None:
    from infra.local import chat

    if bool(options.email) != bool(options.password):
        raise CommandError("Give both --email and --password, or neither.")
    chat.chat(running.get(folder.path).api_url, options.email, options.password)


def _chaos(folder: DataFolder, options: argparse.Namespace) -> int:
    from infra.local.chaos import run

    stack = running.get(folder.path)
    if options.seed and not options.seed.isdecimal():
        raise CommandError(f"SEED={options.seed} is not a number.")
    seed = int(options.seed) if options.seed else random.SystemRandom().randrange(10**6)
    return run.main(stack, seed, options.minutes)


def _status(folder: DataFolder, _options: argparse.Namespace) -> None:
    stack = running.get(folder.path)
    gemini = stack.gemini.url if stack.gemini else "Google (GEMINI_API_KEY is set)"
    stripe = stack.stripe.url if stack.stripe else "Stripe (STRIPE_SECRET_KEY is set)"
    print(f"""\
API      {stack.api_url}
AWS      {stack.aws.endpoint_url} (access key and secret: test)
Upstash  {stack.upstash.url}
Valkey   {stack.valkey.host}:{stack.valkey.port}
Gemini   {gemini}
Stripe   {stripe}
Logs     {stack.logs}
Since    {stack.started_at}, process {stack.pid}""")


def _url(folder: DataFolder, _options: argparse.Namespace) -> None:
    print(running.get(folder.path).api_url)


def _logs(folder: DataFolder, options: argparse.Namespace) -> None:
    from infra.local import logs

    for line in logs.lines(running.get(folder.path), options.function, options.n):
        print(line)


def _sam_local(folder: DataFolder, options: argparse.Namespace) -> int:
    from infra.local.cloud import sam

    return asyncio.run(sam.start_api(folder, _port(options.port)))


def _sam_invoke(folder: DataFolder, options: argparse.Namespace) -> int:
    from infra.local.cloud import sam

    return asyncio.run(sam.invoke(folder, options.function, options.event))


if __name__ == "__main__":
    sys.exit(main())
