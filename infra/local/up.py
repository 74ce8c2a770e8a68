"""Bring the whole system up on this machine, show that it works, and serve until interrupted."""

import asyncio
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from infra.local import conversation
from infra.local.cloud import build, deploy, stack
from infra.local.cloud.children import Child, start_ministack, start_valkey
from infra.local.cloud.gateway import Gateway
from infra.local.serving import HOST, free_port, serve
from infra.local.standins import gemini, stripe, upstash
from infra.paths import BUILD, Home, LocalError, shown

PORTS = {"api": 8000, "aws": 4566, "upstash": 8079, "gemini": 8081, "stripe": 8082}
"""Where things are usually found; the API alone insists on its port."""

IMPATIENT = {"GeminiTimeout": "20", "MaxAttempts": "4", "RetryPause": "1", "SweepAfter": "20"}
"""Shorter pauses than in the cloud: a developer watches."""

WITHOUT_REDIS = 5.0
"""Seconds after which a Redis that ended is started again."""

GEMINI_KEY, STRIPE_KEY = "local-stand-in", "sk_test_stand_in"
"""What the stand-ins take for their accounts' keys."""

# A corporate network's settings, which functions need to reach Google or Stripe.
NETWORK = ["HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]


@dataclass(frozen=True)
class StripeAccount:
    """A real account at Stripe, what is sold there, and the secret that signs its events."""

    secret_key: str
    webhook_secret: str
    price: str


@dataclass(frozen=True)
class Options:
    """How to bring it up; port 0 takes free ports throughout, and the same ones next time."""

    home: Home
    port: int = PORTS["api"]
    fresh: bool = False
    converse: bool = True
    gemini_delay: float = 0.5
    gemini_key: str | None = None
    stripe: StripeAccount | None = None


async def up(options: Options) -> None:
    """Bring everything up and serve until cancelled. Raises LocalError."""
    home = options.home
    with stack.claimed(home):
        if options.fresh:
            shutil.rmtree(home.data, ignore_errors=True)
        async with AsyncExitStack() as exits:
            exits.callback(shutil.rmtree, home.scratch, ignore_errors=True)
            running = _Running(options, exits)
            try:
                description = await running.start()
                stack.write(home, description)
                await _welcome(description, converse=options.converse)
                await running.first_end()
            except LocalError as error:
                raise running.blame(error) from error


class _Running:
    """What has been started so far, and is stopped when `exits` closes."""

    def __init__(self, options: Options, exits: AsyncExitStack) -> None:
        self._options = options
        self._home = options.home
        self._exits = exits
        self._children: list[Child] = []
        self._ports = _Ports(options.home, {} if options.port == 0 else PORTS)
        self._redis_port = free_port()
        self._valkey: Child

    async def start(self) -> stack.Stack:
        """Start everything; return where it runs."""
        aws_port = self._ports.choose("aws")
        aws = stack.Aws(endpoint_url=f"http://{HOST}:{aws_port}")
        gateway = Gateway(aws.endpoint_url)
        api_url = await self._serve_api(gateway)

        with _step(f"Starting AWS (MiniStack), Redis (Valkey){self._stand_ins()}"):
            self._keep(await start_ministack(self._home, aws_port, self._network()))
            self._valkey = await start_valkey(self._home, self._redis_port)
            self._keep(self._valkey)
            account = self._options.stripe or StripeAccount(
                STRIPE_KEY, f"whsec_{secrets.token_hex(16)}", stripe.PRO_PRICE
            )
            cloud = deploy.Cloud(aws)
            given = {
                "gemini-api-key": self._options.gemini_key or GEMINI_KEY,
                "stripe-secret-key": account.secret_key,
                "stripe-webhook-secret": account.webhook_secret,
            }
            token = await asyncio.to_thread(cloud.put_secrets, given)
            await asyncio.to_thread(cloud.verify_sender)
            redis = upstash.create_app(HOST, self._redis_port, token)
            upstash_url = await self._serve(redis, self._ports.choose("upstash"))
            gemini_url = await self._serve_gemini()
            stripe_url = await self._serve_stripe(f"{api_url}/webhook/stripe", account)

        parameters = {
            "Stage": deploy.STAGE,
            "Architecture": build.architecture(),
            "AwsEndpoint": aws.endpoint_url,
            "UpstashUrl": upstash_url,
            "GeminiEndpoint": gemini_url,
            "StripeEndpoint": stripe_url,
            "StripePrice": account.price,
            "MailFrom": deploy.MAIL_FROM,
            "OtpDelivery": "response",  # nobody's phone rings here: the answer shows the code
            "CodesPerAddress": "0",  # everybody here has one address
            **IMPATIENT,
        }
        resources = await self._deploy(cloud, parameters)
        gateway.open(resources.api_id)
        return stack.Stack(
            **msgspec.structs.asdict(resources),
            api_url=api_url,
            pid=os.getpid(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            stack=deploy.STACK,
            stage=deploy.STAGE,
            aws=aws,
            upstash=stack.Upstash(
                url=upstash_url, token=token, faults_url=f"{upstash_url}/_faults"
            ),
            valkey=stack.Valkey(host=HOST, port=self._redis_port),
            gemini=stack.Gemini(url=gemini_url, faults_url=f"{gemini_url}/_faults")
            if gemini_url
            else None,
            stripe=stack.Stripe(
                url=stripe_url, secret_key=STRIPE_KEY, faults_url=f"{stripe_url}/_faults"
            )
            if stripe_url
            else None,
            logs=str(self._home.logs),
        )

    async def first_end(self) -> None:
        """Wait until a program ends that the rest cannot do without. Raises LocalError.

        Redis may vanish, so Valkey is no such program: it is started again, empty.
        """
        waits = {asyncio.ensure_future(child.wait()): child for child in self._children}
        while True:
            ended, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            lost = [waits.pop(one) for one in ended]
            if lost != [self._valkey]:
                raise LocalError("A program ended.")
            print(
                f"Valkey ended, with status {self._valkey.status}. The API goes on without Redis; "
                f"in {WITHOUT_REDIS:.0f} s it is started again, empty.",
                flush=True,
            )
            await asyncio.sleep(WITHOUT_REDIS)
            self._children.remove(self._valkey)
            self._valkey = await start_valkey(self._home, self._redis_port)
            self._keep(self._valkey)
            waits[asyncio.ensure_future(self._valkey.wait())] = self._valkey

    def blame(self, error: LocalError) -> LocalError:
        """Return the error, or that a program ended, where that is behind it."""
        for child in self._children:
            if child.status is not None:
                return LocalError(
                    f"{child.name} ended unexpectedly, with status {child.status} "
                    f"(log: {shown(child.log)}). Start again with `make up`."
                )
        return error

    async def _deploy(self, cloud: deploy.Cloud, parameters: Mapping[str, str]) -> stack.Resources:
        """Build and deploy what has changed; return the names of what the template made."""
        async with build.only_one():
            if not build.is_built():
                with _step("Building functions and layers"):
                    await build.build(self._home.logs / "sam-build.log")
            template = BUILD / "template.yaml"
            values = deploy.declared(template, parameters)
            wanted = deploy.digest(build.fingerprint(), *sorted(map("=".join, values.items())))
            if not await asyncio.to_thread(cloud.is_deployed, wanted):
                with _step("Deploying template.yaml"):
                    await deploy.deploy(cloud, values, self._home.logs / "sam-deploy.log")
        resources = await asyncio.to_thread(cloud.resources)
        await asyncio.to_thread(cloud.wire, resources)
        await asyncio.to_thread(cloud.note_deployed, wanted)
        return resources

    async def _serve_api(self, gateway: Gateway) -> str:
        port = self._options.port or self._ports.choose("api")
        try:
            return await self._serve(gateway.create_app(), port)
        except OSError as error:
            raise LocalError(
                f"Port {port} is taken by another program: stop that, or take another port "
                f"with `make up PORT={port + 1}`."
            ) from error

    async def _serve_gemini(self) -> str:
        """Serve the stand-in for Gemini, and return its URL; nothing where Google is asked."""
        if self._options.gemini_key:
            return ""
        app = gemini.create_app(GEMINI_KEY, self._options.gemini_delay)
        return await self._serve(app, self._ports.choose("gemini"))

    async def _serve_stripe(self, webhook: str, account: StripeAccount) -> str:
        """Serve the stand-in for Stripe, and return its URL; nothing where Stripe is asked."""
        if self._options.stripe:
            return ""
        endpoint = stripe.Endpoint(webhook, [account.webhook_secret], types=stripe.EVENTS)
        kept_in = self._home.data / "stripe.json"
        app = stripe.create_app(STRIPE_KEY, endpoint, kept_in=kept_in)
        return await self._serve(app, self._ports.choose("stripe"))

    async def _serve(self, app: web.Application, port: int) -> str:
        runner, url = await serve(app, port)
        self._exits.push_async_callback(runner.cleanup)
        return url

    def _keep(self, child: Child) -> None:
        self._exits.push_async_callback(child.stop)
        self._children.append(child)

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
    """The ports a home uses, the same every time where they are free."""

    def __init__(self, home: Home, usual: Mapping[str, int]) -> None:
        self._file = home.ports
        self._ports = dict(usual)
        with suppress(FileNotFoundError):
            self._ports |= json.loads(self._file.read_text())

    def choose(self, name: str) -> int:
        """Return a free port, and remember it."""
        self._ports[name] = free_port(self._ports.get(name, 0))
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._ports))
        return self._ports[name]


async def _welcome(description: stack.Stack, *, converse: bool) -> None:
    """Show that it works, and how to go on; a conversation that fails stops nothing."""
    if converse:
        print("\nA first conversation:\n", flush=True)
        try:
            walked = await asyncio.to_thread(conversation.walk, description.api_url, _say)
            lines = conversation.by_hand(description.api_url, walked)
            if description.gemini:
                print("\n(A stand-in for Gemini answered; with GEMINI_API_KEY set, Google does.)")
            print(f"\nGo on by hand, in another terminal:\n\n{lines}\n\nOr: make chat")
        except LocalError as error:
            print(f"{error}\nWhat the functions logged: make logs")
    print(f"\nThe API is at {description.api_url}. Ctrl-C stops it.", flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _step(text: str) -> Iterator[None]:
    """Say what is being done, and then how long it took."""
    print(f"{text} … ", end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except Exception:
        print(flush=True)
        raise
    print(f"{time.monotonic() - started:.1f} s", flush=True)
