"""Help a user without touching tables: `make admin ARGS="show ann@example.com" STAGE=prod`.

A user is named by email, mobile number, id or Stripe customer id. An act requires a reason, which
is stored with your AWS identity. This command only invokes functions of the stage. The
policy Support (DEPLOYING.md) allows that.
"""

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, NoReturn

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.command import CommandError
from infra.stages import stage as stages
from infra.stages.command import EXPECTED, command, parser
from infra.stages.stage import Stage

PATIENT = Config(read_timeout=70)
"""A read timeout longer than the functions' timeout. Retries are safe: an act has an id."""
VERY_PATIENT = Config(read_timeout=910, retries={"total_max_attempts": 1})
"""The read timeout of a redrive, which takes minutes and is not retried."""

SHOW, CHANGE = "admin-show", "admin-change"
REDRIVE = "admin-redrive"
OTHERS = {"delete": "admin-delete", "export": "admin-export"}
"""The functions' names without the stage. Acts use CHANGE, except for the acts in OTHERS."""


@command
def main(arguments: list[str]) -> None:
    """Run a query or an act, and print the outcome."""
    for_programs = "--json" in arguments
    kind = ParserForPrograms if for_programs else argparse.ArgumentParser
    options = make_parser(kind).parse_args(arguments)
    try:
        answer = _answer(options)
    except EXPECTED as error:
        if for_programs:
            print_problem(getattr(error, "code", "aws"), str(error))
        raise
    if for_programs:
        print_json(answer)
        return
    for line in options.describe(answer):
        print(line)


def _answer(options: argparse.Namespace) -> Any:
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        stage = stages.connect(options.stage, options.data_folder)
        if stage.name == stages.LOCAL:
            print(f"Stage {stage.name}: stack {stage.stack} on this machine", flush=True)
    return options.run(stage, options)


class ParserForPrograms(argparse.ArgumentParser):
    """A parser that also prints errors in the arguments as JSON."""

    def error(self, message: str) -> NoReturn:
        """Print the error as JSON and as text, and exit with status 2."""
        print_problem("usage", message)
        super().error(message)


def print_problem(code: str, detail: str) -> None:
    """Print an error as JSON on stdout, because `make` adds its own lines to stderr."""
    from geminichat.errors import PROBLEM_TYPE

    print_json({"type": PROBLEM_TYPE + code, "detail": detail})


def print_json(answer: Any) -> None:
    """Print an answer as JSON."""
    print(json.dumps(answer, indent=2, ensure_ascii=False))


def make_parser(kind: type[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Return the parser, with a subcommand for each act and each query."""
    known = parser("admin", __doc__, local=True, kind=kind)
    known.usage = 'make admin ARGS="COMMAND …" STAGE=…'
    commands = known.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, about: str, run: Callable[..., Any], describe: Callable[..., Any]
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, prog=name, help=about, description=f"{about[0].upper()}{about[1:]}."
        )
        made.add_argument("--json", action="store_true", help="print JSON, also for errors")
        made.set_defaults(run=run, describe=describe)
        return made

    def add_act(name: str, about: str) -> argparse.ArgumentParser:
        made = add(name, about, act, describe_outcome)
        made.add_argument("user", help="email, mobile number, id or Stripe customer id")
        made.add_argument(
            "--reason",
            required=True,
            help="the reason, which is never deleted: do not name emails or numbers",
        )
        made.add_argument("--dry-run", action="store_true", help="only print what would happen")
        made.set_defaults(act=name)
        return made

    shown = add("show", "show the state of an account, without messages", show, describe_user)
    shown.add_argument("user", help="email, mobile number, id or Stripe customer id")
    grant = add_act("grant", "give the pro plan until a date, whatever Stripe reports")
    grant.add_argument("--until", required=True, type=end_of, metavar="DATE", help="the last day")
    add_act("revoke", "end a granted pro plan")
    give_back = add_act("give-back", "return prompts to today's quota")
    give_back.add_argument("--prompts", type=int, default=1, help="number of prompts (default: 1)")
    add_act("end-sessions", "end all sessions, for example after a device was stolen")
    add_act("ban", "suspend an account: no login, no prompt, no live reply")
    add_act("unban", "allow a suspended account to log in again")
    add_act("export", "prepare an export of an account's data for the user")
    add_act("delete", "delete an account; a login in the grace period keeps the account")
    redrive = add("redrive", "queue failed prompts again", redrive_prompts, describe_redrive)
    redrive.add_argument("--failure", metavar="CODE", help="only prompts with this error code")
    redrive.add_argument("--hours", type=float, default=24, help="hours to look back (default: 24)")
    redrive.add_argument("--reason", required=True, help="the reason, which is never deleted")
    redrive.add_argument("--dry-run", action="store_true", help="only print what would happen")
    audit = add("audit", "list the acts on a user, or all acts of a day", list_acts, describe_acts)
    audit.add_argument("user", nargs="?", help="a user (default: all acts of --day)")
    audit.add_argument("--day", type=day_of, metavar="DATE", help="a UTC day (default: today)")
    return known


def day_of(text: str) -> date:
    """Return the day in a string such as 2027-03-31. Raises ArgumentTypeError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2027-03-31") from None


def end_of(text: str) -> datetime:
    """Return the time in a string; a day means its last millisecond (UTC).

    Raises ArgumentTypeError.
    """
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(text)
        if len(text) > len("2027-03-31"):
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return datetime(moment.year, moment.month, moment.day, 23, 59, 59, 999_000, UTC)
    raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2027-03-31")


# ── Requests to the functions ────────────────────────────────────────────────────────────────


def show(stage: Stage, options: argparse.Namespace) -> Any:
    """Return the state of an account."""
    return ask(stage, {"ask": "show", "userId": get_user_id(stage, options.user)})


def list_acts(stage: Stage, options: argparse.Namespace) -> Any:
    """Return the acts on a user, or the acts of a day. Raises CommandError."""
    if options.user and options.day:
        raise CommandError("Name either a user or a day.")
    if options.user:
        # An id is not looked up, because the acts on a deleted user are kept.
        is_id = re.fullmatch("u_[a-z2-7]{26}", options.user)
        user_id = options.user if is_id else get_user_id(stage, options.user)
        return ask(stage, {"ask": "audit", "userId": user_id})["acts"]
    day = (options.day or datetime.now(UTC).date()).isoformat()
    return ask(stage, {"ask": "audit", "day": day})["acts"]


def act(stage: Stage, options: argparse.Namespace) -> Any:
    """Perform an act on a user, and return its outcome."""
    from geminichat.domain import ids

    values = {
        "prompts": getattr(options, "prompts", None),
        "until": options.until.isoformat() if hasattr(options, "until") else None,
    }
    request = {
        "act": options.act,
        "id": ids.new("a"),
        "userId": get_user_id(stage, options.user),
        "reason": options.reason,
        "dryRun": options.dry_run,
        **{name: value for name, value in values.items() if value is not None},
    }
    outcome: dict[str, Any] = perform(stage, OTHERS.get(options.act, CHANGE), request)
    return {**outcome, "dryRun": options.dry_run, "userId": request["userId"]}


def redrive_prompts(stage: Stage, options: argparse.Namespace) -> Any:
    """Queue failed prompts again, and return the outcome of each prompt."""
    from geminichat.domain import ids

    request = {
        "act": "redrive",
        "id": ids.new("a"),
        "reason": options.reason,
        "dryRun": options.dry_run,
        "failure": options.failure,
        "hours": options.hours,
    }
    return {**perform(stage, REDRIVE, request), "dryRun": options.dry_run}


def get_user_id(stage: Stage, named: str) -> str:
    """Return the id of the user with this email, number or id. Raises CommandError."""
    return str(ask(stage, {"ask": "who", "named": named})["userId"])


def ask(stage: Stage, query: Mapping[str, Any]) -> Any:
    return invoke(stage, SHOW, {"request": json.dumps(query)})


def perform(stage: Stage, function: str, request: Mapping[str, Any]) -> Any:
    """Send an act with a proof of the operator's identity, and return the outcome."""
    text = json.dumps(request)
    return invoke(stage, function, {"request": text, "proof": prove(text, stage.name)})


def prove(request: str, stage: str) -> dict[str, str]:
    """Return the headers of a signed request to STS, which proves this process's AWS identity.

    The function that performs the act sends the request to STS (clients.operators).
    """
    from geminichat.clients import operators
    from geminichat.runtime import aws_client

    found = boto3.Session().get_credentials()
    if found is None:
        raise CommandError(
            "No AWS credentials were found. Log in, and name the profile with AWS_PROFILE."
        )
    headers = {
        "content-type": operators.FORM,
        operators.BOUND_TO: operators.digest(request, stage),
    }
    url = f"{aws_client.endpoint('sts')}/"
    signed = AWSRequest("POST", url, headers=headers, data=operators.BODY)
    SigV4Auth(found.get_frozen_credentials(), "sts", os.environ["AWS_REGION"]).add_auth(signed)
    lower = {name.lower(): value for name, value in signed.headers.items()}
    return {name: lower[name] for name in operators.PROOF if name in lower}


def invoke(stage: Stage, function: str, event: Mapping[str, Any]) -> Any:
    """Return the data of a function's answer. Raises CommandError."""
    name = f"geminichat-{stage.name}-{function}"
    patience = VERY_PATIENT if function == REDRIVE else PATIENT
    functions = boto3.client("lambda", config=patience)
    try:
        answer = functions.invoke(FunctionName=f"{name}:live", Payload=json.dumps(event).encode())
    except functions.exceptions.ResourceNotFoundException as error:
        raise CommandError(
            f"There is no {name} here: {stage.name} is not deployed.", "not-deployed"
        ) from error
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        raise CommandError(
            f"You may not invoke {name}. Ask for the stage's policy Support (DEPLOYING.md).",
            "access-denied",
        ) from error
    result = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise CommandError(
            f"{name} failed: {result.get('errorMessage')}. The function's log has the details."
        )
    if "error" in result:
        raise CommandError(result["message"], result["error"])
    return result["data"]


# ── Output ──────────────────────────────────────────────────────────────────────────────


def describe_outcome(outcome: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that describe the outcome of an act."""
    yield outcome["message"]
    if outcome["dryRun"]:
        yield "This was a dry run. Nothing was changed."


def describe_redrive(outcome: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line per prompt, and the outcome of the redrive."""
    yield from outcome["lines"]
    if left := sum(outcome["counts"].values()) - len(outcome["lines"]):
        yield f"… and {left} more"
    yield from describe_outcome(outcome)


def describe_user(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that describe an account."""
    account, subscription = found["account"], found["subscription"]
    usage = account["usage"]
    yield from _table(
        ("user", account["id"]),
        ("email", _identity(account["email"], account["emailVerified"])),
        ("mobile", _identity(account["mobile"], account["mobileVerified"])),
        ("created", account["createdAt"]),
        ("banned", found["bannedAt"]),
        ("to be deleted", found["purgeAt"]),
        ("plan", account["plan"]),
        ("granted until", subscription["grantedUntil"]),
        ("subscription", _subscription(subscription)),
        ("Stripe customer", found["stripeCustomerId"]),
        ("prompts today", _prompts(usage, found)),
        ("tokens today", f"{usage['inputTokens']:,} in, {usage['outputTokens']:,} out"),
        ("spent today", f"${usage['spentUsd']:.4f} of ${usage['spendingLimitUsd']:.2f}"),
        ("sessions", _sessions(found["sessions"])),
        ("connections", str(found["connections"])),
    )
    if not found["failures"]:
        return
    yield "Recent failures:"
    for failure in found["failures"]:
        yield f"  {failure['failedAt']}  {failure['error']:<20} {failure['messageId']}"


def describe_acts(acts: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line per act."""
    if not acts:
        yield "There are no acts."
    for one in acts:
        given = ", ".join(
            f"{name} {value}" for name, value in one["details"].items() if value is not None
        )
        user = "" if one["userId"] == "stage" else one["userId"]
        named = " ".join(filter(None, [one["act"], user, given and f"({given})"]))
        yield f"{one['at']}  {named}  by {one['operator']}: {one['reason']}"


def _table(*rows: tuple[str, str | None]) -> Iterator[str]:
    for name, value in rows:
        if value is not None:
            yield f"{name:<16} {value}"


def _identity(value: str | None, verified: bool) -> str | None:
    return value and f"{value} ({'verified' if verified else 'not verified'})"


def _subscription(found: Mapping[str, Any]) -> str:
    if not found["currentPeriodEnd"]:
        return str(found["status"])
    ends = "ends" if found["cancelAtPeriodEnd"] else "renews"
    return f"{found['status']}, {ends} {found['currentPeriodEnd']}"


def _prompts(usage: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    limit = "" if usage["limit"] is None else f" of {usage['limit']}"
    return f"{usage['used']}{limit}, {found['inFlight']} in flight, {found['attempts']} attempts"


def _sessions(began: Mapping[str, str]) -> str:
    if not began:
        return "0"
    return f"{len(began)}, the latest since {max(began.values())}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
