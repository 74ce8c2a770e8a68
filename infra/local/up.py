"""Start the whole system on this machine, show that it works, and serve until interrupted."""

import asyncio
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from aiohttp import web

from infra import running
from infra.command import CommandError
from infra.local import conversation
from infra.local.cloud import build, deploy
from infra.local.cloud.gateway import Gateway
from infra.local.cloud.programs import Program, start_ministack, start_valkey
from infra.local.data_folder import DataFolder
from infra.local.serving import HOST, free_port, serve
from infra.local.standins import gemini, stripe, upstash
from infra.paths import BUILD, ROOT, display_path

PORTS = {"api": 8000, "aws": 4566, "upstash": 8079, "gemini": 8081, "stripe": 8082}
"""The default ports. If a port is in use, another port is chosen, except for the API."""

SHORT_PAUSES = {
    "GeminiTimeout": "60",
    "GeminiSilence": "20",
    "MaxAttempts": "4",
    "RetryPause": "1",
    "SweepAfter": "20",
}
"""Parameters with shorter timeouts and pauses than on AWS, because a developer waits."""

REDIS_PAUSE = 5.0
"""Seconds between the end of Valkey and its restart."""
VALKEY_ENDED = f"The API works without Redis; Valkey restarts empty in {REDIS_PAUSE:.0f} s."
MINISTACK_ENDED = (
    "MiniStack restarts with all stored data, but without queue messages; the sweep queues "
    "unfinished prompts again."
)

GEMINI_KEY, STRIPE_KEY = "local-stand-in", "sk_test_stand_in"
"""The only keys that the stand-ins accept."""

NETWORK = ["HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]
"""Environment variables that functions need to reach Google or Stripe from a company's network."""


@dataclass(frozen=True)
class StripeAccount:
    """A Stripe account: its API key, the secret that signs its events, and the pro plan's price."""

    secret_key: str
    webhook_secret: str
    price: str


@dataclass(frozen=True)
class Options:
    """Options of `make up`. Port 0 selects a free port, which the next start uses again."""

    folder: DataFolder
    port: int = PORTS["api"]
    fresh: bool = False
    converse: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)
    reload: bool = True
    """Whether code that the developer saves replaces the deployed code at once."""
    gemini_delay: float = 1.5
    gemini_key: str | None = None
    stripe: StripeAccount | None = None


async def up(options: Options) -> None:
    """Start everything and serve until cancelled. Raises CommandError."""
    folder = options.folder
    with folder.lock():
        if options.fresh:
            shutil.rmtree(folder.data, ignore_errors=True)
        async with AsyncExitStack() as exits:
            exits.callback(shutil.rmtree, folder.scratch, ignore_errors=True)
            system = _System(options, exits)
            try:
                stack = await system.start()
                folder.write(stack)
                if options.gemini_key:
                    await asyncio.to_thread(_show_models)
                await _welcome(stack, converse=options.converse)
                await system.wait()
            except CommandError as error:
                raise system.explain(error) from error


class _System:
    """The running parts of the system; `exits` stops all parts."""

    def __init__(self, options: Options, exits: AsyncExitStack) -> None:
        self._options = options
        self._folder = options.folder
        self._exits = exits
        self._programs: list[Program] = []
        self._ports = _Ports(options.folder, {} if options.port == 0 else PORTS)
        self._redis_port = free_port()
        self._redis_folder = Path(exits.enter_context(TemporaryDirectory(prefix="geminichat-")))
        self._aws_port = self._ports.choose("aws")
        self._ministack: Program
        self._valkey: Program

    async def start(self) -> running.Stack:
        """Start everything and return its description."""
        aws = running.Aws(endpoint_url=f"http://{HOST}:{self._aws_port}")
        gateway = Gateway(aws.endpoint_url)
        api_url = await self._serve_api(gateway)

        with _step(f"Starting AWS (MiniStack), Redis (Valkey){self._stand_ins()}"):
            self._ministack = await self._start_ministack()
            self._valkey = await self._start_valkey()
            account = self._options.stripe or StripeAccount(
                STRIPE_KEY, f"whsec_{secrets.token_hex(16)}", stripe.PRO_PRICE
            )
            cloud = deploy.Cloud(aws)
            secret_values = {
                "gemini-api-key": self._options.gemini_key or GEMINI_KEY,
                "stripe-secret-key": account.secret_key,
                "stripe-webhook-secret": account.webhook_secret,
            }
            token = await asyncio.to_thread(cloud.put_secrets, secret_values)
            await asyncio.to_thread(cloud.verify_sender)
            redis = upstash.create_app(HOST, self._redis_port, token)
            upstash_url = await self._serve(redis, self._ports.choose("upstash"))
            gemini_url = await self._serve_gemini()
            stripe_url = await self._serve_stripe(f"{api_url}/webhook/stripe", account)

        parameters = {
            "Stage": deploy.STAGE,
            "Architecture": build.architecture(),
            "AwsEndpoint": aws.endpoint_url,
            "GatewayEndpoint": api_url,
            "UpstashUrl": upstash_url,
            "GeminiEndpoint": gemini_url,
            "StripeEndpoint": stripe_url,
            "StripePrice": account.price,
            "MailFrom": deploy.MAIL_FROM,
            "OtpDelivery": "response",  # no message leaves this machine
            "CodesPerAddress": "0",  # no limit: all requests come from one address
            "SignupsPerAddress": "0",
            **SHORT_PAUSES,
            **self._options.parameters,
        }
        resources = await self._deploy(cloud, parameters)
        gateway.open(resources.api_id, resources.live_api_id)
        return running.Stack(
            **msgspec.structs.asdict(resources),
            api_url=api_url,
            pid=os.getpid(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            stack=deploy.STACK,
            stage=deploy.STAGE,
            aws=aws,
            upstash=running.Upstash(url=upstash_url, token=token),
            valkey=running.Valkey(host=HOST, port=self._redis_port),
            gemini=running.Gemini(url=gemini_url) if gemini_url else None,
            stripe=running.Stripe(url=stripe_url, secret_key=STRIPE_KEY) if stripe_url else None,
            logs=str(self._folder.logs),
        )

    async def wait(self) -> None:
        """Restart Valkey (without data) or MiniStack (with its data) whenever one of them ends.

        Raises CommandError if a restart fails.
        """
        await asyncio.gather(
            self._restart(self._ministack, self._start_ministack, 0, MINISTACK_ENDED),
            self._restart(self._valkey, self._start_valkey, REDIS_PAUSE, VALKEY_ENDED),
        )

    async def _restart(
        self, program: Program, start: Callable[[], Awaitable[Program]], pause: float, says: str
    ) -> None:
        while True:
            await program.wait()
            print(f"{program.name} ended with status {program.status}. {says}", flush=True)
            await asyncio.sleep(pause)
            self._programs.remove(program)
            program = await start()

    def explain(self, error: CommandError) -> CommandError:
        """Return the error, or a clearer error if a program has ended."""
        for program in self._programs:
            if program.status is not None:
                return CommandError(
                    f"{program.name} ended unexpectedly with status {program.status} "
                    f"(log: {display_path(program.log)}). Start again with `make up`."
                )
        return error

    async def _deploy(
        self, cloud: deploy.Cloud, parameters: Mapping[str, str]
    ) -> running.Resources:
        """Build and deploy the system if it has changed; return the deployed resources."""
        async with build.lock():
            if not build.is_built():
                with _step("Building functions and layers"):
                    await build.build(self._folder.logs / "sam-build.log")
            template = BUILD / "template.yaml"
            values = deploy.select_declared(template, parameters)
            expected = deploy.digest(build.fingerprint(), *sorted(map("=".join, values.items())))
            if not await asyncio.to_thread(cloud.is_deployed, expected):
                with _step("Deploying template.yaml"):
                    await deploy.deploy(cloud, values, self._folder.logs / "sam-deploy.log")
        resources = await asyncio.to_thread(cloud.resources)
        await asyncio.to_thread(cloud.set_boundaries)
        await asyncio.to_thread(cloud.create_routes, resources)
        await asyncio.to_thread(cloud.store_digest, expected)
        await asyncio.to_thread(cloud.save)
        return resources

    async def _serve_api(self, gateway: Gateway) -> str:
        port = self._options.port or self._ports.choose("api")
        try:
            return await self._serve(gateway.create_app(), port)
        except PermissionError as error:
            raise CommandError(
                f"Port {port} needs special rights. Choose a port from 1024 on: make up PORT=8000"
            ) from error
        except OSError as error:
            raise CommandError(
                f"Port {port} is in use. Stop the program that uses it, or choose another port: "
                f"make up PORT={port + 1}"
            ) from error

    async def _serve_gemini(self) -> str:
        """Serve the stand-in for Gemini and return its URL, or "" if Google itself is used."""
        if self._options.gemini_key:
            return ""
        app = gemini.create_app(GEMINI_KEY, self._options.gemini_delay)
        return await self._serve(app, self._ports.choose("gemini"))

    async def _serve_stripe(self, webhook: str, account: StripeAccount) -> str:
        """Serve the stand-in for Stripe and return its URL, or "" if Stripe itself is used."""
        if self._options.stripe:
            return ""
        endpoint = stripe.Endpoint(webhook, [account.webhook_secret], types=stripe.EVENTS)
        file = self._folder.data / "stripe.json"
        app = stripe.create_app(STRIPE_KEY, endpoint, file=file)
        return await self._serve(app, self._ports.choose("stripe"))

    async def _serve(self, app: web.Application, port: int) -> str:
        runner, url = await serve(app, port)
        self._exits.push_async_callback(runner.cleanup)
        return url

    async def _start_ministack(self) -> Program:
        sources = ROOT if self._options.reload else None
        return self._keep(
            await start_ministack(self._folder, self._aws_port, self._network(), sources)
        )

    async def _start_valkey(self) -> Program:
        log = self._folder.logs / "valkey.log"
        return self._keep(await start_valkey(self._redis_folder, self._redis_port, log))

    def _keep(self, program: Program) -> Program:
        self._exits.push_async_callback(program.stop)
        self._programs.append(program)
        return program

    def _stand_ins(self) -> str:
        names = [
            name
            for name, real in (
                ("Gemini", self._options.gemini_key),
                ("Stripe", self._options.stripe),
            )
            if not real
        ]
        return f", stand-ins for {' and '.join(names)}" if names else ""

    def _network(self) -> dict[str, str]:
        if not self._options.gemini_key and not self._options.stripe:
            return {}
        settings = {name: os.environ[name] for name in NETWORK if name in os.environ}
        return settings | {"NO_PROXY": HOST}


class _Ports:
    """The ports of a stack: a run uses the ports of the previous run if they are free."""

    def __init__(self, folder: DataFolder, usual: Mapping[str, int]) -> None:
        self._file = folder.ports
        self._ports = dict(usual)
        with suppress(FileNotFoundError):
            self._ports |= json.loads(self._file.read_text())

    def choose(self, name: str) -> int:
        """Return a free port for a part of the stack, and store the port for the next run."""
        self._ports[name] = free_port(self._ports.get(name, 0))
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._ports))
        return self._ports[name]


async def _welcome(stack: running.Stack, *, converse: bool) -> None:
    """Print the addresses, run a first conversation, and print commands that continue it."""
    url = stack.api_url
    print(f"\nConsole  {url}/ (open it in a browser and chat)\nDocs     {url}/docs", end="")
    print(f"\nAPI      {url}", flush=True)
    if converse:
        print("\nA first conversation with the API:\n", flush=True)
        try:
            held = await asyncio.to_thread(conversation.hold, stack.api_url, _show)
            commands = conversation.next_commands(stack.api_url, held)
            if stack.gemini:
                print(
                    "\n(The reply is from a stand-in. Set GEMINI_API_KEY to use Google's Gemini.)"
                )
            print(f"\nContinue in another terminal:\n\n{commands}\n\nOr chat: make chat")
        except CommandError as error:
            print(f"{error}\nThe functions' logs: make logs")
    print(f"\nThe system is at {url}. Press Ctrl-C to stop.", flush=True)


def _show_models() -> None:
    """Print our catalogue of models, and warn about models that the Gemini key may not use."""
    sys.path.append(str(ROOT / "layers" / "core"))  # for check_models
    from infra.stages import check_models

    catalogue = check_models.read_catalogue({})
    try:
        served = check_models.list_served()
    except CommandError as error:
        print(f"\nWarning: {error}", flush=True)
        return
    print("\nThe models, and whether this Gemini key may use them:")
    print(check_models.describe(catalogue, served))
    for concern in catalogue.concerns(served, datetime.now(UTC).date()):
        print(f"Warning: {concern}")
    sys.stdout.flush()


def _show(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _step(text: str) -> Iterator[None]:
    """Print the text, run the block, and print the block's duration in seconds."""
    print(f"{text} … ", end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except Exception:
        print(flush=True)
        raise
    print(f"{time.monotonic() - started:.1f} s", flush=True)
