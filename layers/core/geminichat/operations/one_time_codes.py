"""Issue, store and verify one-time codes, and require one as a fresh proof.

A try is counted before the code is compared, so that parallel requests share a caller's tries. Each
try counts for the caller and for the caller's IP address. All callers of an identity share only the
count of wrong codes in a row; devices that have logged in before are exempt from this count.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from geminichat import config, metrics
from geminichat.clients import notifications
from geminichat.domain import addresses, codes, limits, times
from geminichat.domain.codes import CodeSent, NewCode, Proof, Purpose, SentCode
from geminichat.domain.devices import Device
from geminichat.domain.identities import Identity
from geminichat.domain.limits import Limit, Pause, Window
from geminichat.errors import InvalidCode, InvalidRequest, TooManyRequests
from geminichat.operations import known_devices
from geminichat.tables import codes as codes_table
from geminichat.tables import identities, users
from geminichat.tables import limits as limits_table
from geminichat.tables.codes import Codes
from geminichat.tables.identities import IdentityRecord
from geminichat.tables.table import ConditionsFailed, Write, batch_get, transact

if TYPE_CHECKING:
    from geminichat.domain.accounts import GivenCode

TEXTS = "texts"
"""The name of the limit of SMS per stage and day."""


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """A code that may be stored and sent, and the records that were read to allow it."""

    code: NewCode
    item: Codes | None
    record: IdentityRecord | None
    windows: Sequence[Window]

    def headers(self) -> Mapping[str, str]:
        """Return the headers RateLimit and RateLimit-Policy after this code."""
        now, sent = self.code.now, codes_table.list_recent(self.item, self.code.now)
        mine = SentCode("", "", "", self.code.purpose, times.millis(now), self.code.sender)
        own = codes.headers([*sent, mine], self.code.sender, now)
        address = limits.headers([window.count_events(1) for window in self.windows], now)
        return limits.join_headers(own, address)


def send(
    identity: Identity, purpose: Purpose, source: str, device_token: str | None, now: datetime
) -> tuple[CodeSent, Mapping[str, str]]:
    """Send a new code; return the answer to the caller, and the headers of the limits.

    The work is the same whether or not there is an account. Raises TooManyRequests,
    DeliveryFailed, and InvalidRequest for a number to which no SMS is sent.
    """
    code = issue(identity, purpose, source, device_token, now)
    try:
        transact(*build_writes(code))
    except ConditionsFailed as error:
        raise build_refusal(code, error) from error
    return CodeSent(challenge=code.code.challenge, otp=deliver(code)), code.headers()


def issue(
    identity: Identity, purpose: Purpose, source: str, device_token: str | None, now: datetime
) -> Issue:
    """Return a new code for an identity; the code is not stored yet.

    Raises TooManyRequests if the caller, the IP address or the stage has reached a limit, and
    InvalidRequest for a number in a country to which no SMS is sent.
    """
    _require_country(identity)
    windows = _list_send_windows(identity, source, now)
    device = Device.read(device_token)
    keys = [
        codes_table.key_of(identity),
        identities.key_of(identity),
        *map(limits_table.key_of, windows),
    ]
    item, record, *more = batch_get(*keys, *([users.key_of(device.user_id)] if device else []))
    counters, user = more[: len(windows)], more[-1] if device else None
    record = identities.drop_expired(record, now)
    windows = limits_table.add_counts(windows, counters, now)
    require_capacity(windows, now)

    is_known = known_devices.is_known(device, record, user)
    caller = codes.name_caller(source, device.id if device and is_known else None)
    codes.require_sendable(codes_table.list_recent(item, now), caller, now)
    code = codes.generate(identity, purpose, caller, now)
    return Issue(code=code, item=item, record=record, windows=windows)


def build_writes(issue: Issue) -> list[Write]:
    """Return the writes that store a code and count it."""
    code, signing = issue.code, config.signing_keys()
    key = signing.keys[signing.current]
    digest = codes.digest(code.code, code.purpose, code.identity, code.challenge, key)
    stored = codes_table.store(issue.item, code, digest, signing.current)
    counts = [limits_table.count_event(window, code.now) for window in issue.windows]
    return [stored, *counts]


def deliver(issue: Issue) -> str | UnsetType:
    """Send a stored code, and return it if the stage shows codes in answers.

    Raises DeliveryFailed, and InvalidRequest for a number that SNS rejects.
    """
    code = issue.code
    shown = config.setting("OTP_DELIVERY") == "response"
    metrics.emit_code_sent(code.identity.kind, code.identity.country)
    report_texts(issue.windows)
    subject, text = codes.message(code.purpose, code.code, known=issue.record is not None)
    notifications.send(code.identity, subject, text, ignore_failure=shown)
    return code.code if shown else UNSET


def report_texts(windows: Sequence[Window]) -> None:
    """Emit the used percentage of the stage's daily limit of SMS, with one more SMS."""
    for window in windows:
        if window.name == TEXTS:
            metrics.emit(TextsShare=round(100 * (window.count + 1) / window.quota))


def build_refusal(issue: Issue, error: ConditionsFailed) -> TooManyRequests:
    """Return the error for a code that was not stored because of parallel requests."""
    for window in issue.windows:
        if error.of(window.name):
            return _build_too_many(window, issue.code.now)
    return TooManyRequests("Another code was sent at the same moment. Try again.", retry_after=1)


def verify(given: "GivenCode", purpose: Purpose, source: str, now: datetime) -> Proof:
    """Count a try, and return the proof if the code is right.

    Raises InvalidCode for a code that is wrong, expired or used, or has no tries left. Raises
    TooManyRequests for an IP address with too many tries, and for an identity with too many wrong
    codes in a row.
    """
    identity, challenge = given.identity, given.challenge
    wrong = codes.wrong_in_a_row(identity)
    item, counter = batch_get(codes_table.key_of(identity), limits_table.key_of(wrong))
    [wrong] = limits_table.add_counts([wrong], [counter], now)
    caller = codes.name_caller(source, None)
    sent = codes_table.list_recent(item, now)
    found = codes.candidates(sent, purpose, challenge, caller, now)

    device_id = found[0].device_id if challenge and found else None
    if device_id is None and (wait := wrong.wait(now)):
        raise codes.refusal(wait)
    tries = _list_tries(identity, challenge, device_id, source, now)
    _take_try(tries, None if device_id else wrong, now)
    match = codes.find_match(found, given.otp, identity, config.signing_keys().keys)
    if match is None:
        metrics.emit(CodesFailed=1)
        raise InvalidCode()
    return Proof(identity, match.challenge)


def confirm(
    held: Sequence[Identity], otp: str, session_id: str, source: str, now: datetime
) -> Proof:
    """Count a try of the session; return the proof if one of the `held` identities got the code.

    Raises InvalidCode, TooManyRequests.
    """
    items = batch_get(*map(codes_table.key_of, held)) if held else []
    tries = [
        limits.window("session tries", session_id, codes.TRIES, limits.DAY, now),
        *_list_address_tries(source, now),
    ]
    _take_try(tries, None, now)
    caller = codes.name_caller(source, None)
    for identity, item in zip(held, items, strict=True):
        sent = codes_table.list_recent(item, now)
        found = codes.candidates(sent, Purpose.CONFIRM, None, caller, now)
        if match := codes.find_match(found, otp, identity, config.signing_keys().keys):
            return Proof(identity, match.challenge)
    metrics.emit(CodesFailed=1)
    raise InvalidCode.at({"/currentOtp": "The code is wrong or has expired"})


def use(proof: Proof, now: datetime) -> list[Write]:
    """Return the writes that use a proof up; the write "code" fails if it was used before."""
    return [
        codes_table.use(proof, now),
        limits_table.forget(codes.wrong_in_a_row(proof.identity)),
    ]


def _list_tries(
    identity: Identity,
    challenge: str | None,
    device_id: str | None,
    source: str,
    now: datetime,
) -> list[Window]:
    if device_id:
        own = limits.window("own tries", device_id, codes.TRIES_OF_DEVICE, limits.HOUR, now)
    else:
        quota = codes.TRIES_OF_CALLER if challenge else codes.TRIES
        who = f"{identity.digest}@{addresses.network(source)}"
        own = limits.window("own tries", who, quota, limits.HOUR, now)
    of_challenge = [codes.tries_of(challenge, now)] if challenge else []
    return [own, *of_challenge, *([] if device_id else _list_address_tries(source, now))]


def _list_address_tries(source: str, now: datetime) -> list[Window]:
    quota = 2 * config.number("CODES_PER_ADDRESS")
    return limits.address_windows("tries", source, quota, limits.HOUR, now)


def _take_try(tries: Sequence[Window], wrong: Pause | None, now: datetime) -> None:
    """Count one more try before the code is compared. Raises InvalidCode, TooManyRequests."""
    counts = [limits_table.count_event(window, now) for window in tries]
    try:
        limits_table.count_failures([wrong] if wrong else [], now, *counts)
    except ConditionsFailed as error:
        for window in tries:
            if error.of(window.name) and window.name.startswith("tries"):
                raise _build_too_many(window, now) from error
        if wrong and error.has_only(wrong.name):
            raise codes.refusal(wrong.longest) from error
        raise InvalidCode() from error


def require_capacity(windows: Sequence[Window], now: datetime) -> None:
    """Check that each limit allows one more event. Raises TooManyRequests."""
    for window in windows:
        if window.wait(now):
            raise _build_too_many(window, now)


def _build_too_many(window: Limit, now: datetime) -> TooManyRequests:
    seconds = window.wait(now) or window.seconds(now)
    full = window.count_events(window.quota)
    detail = f"Too many code requests from your IP address. Try again in {seconds} s."
    if window.name == TEXTS:
        detail = "No more text messages can be sent today. "
        detail += f"Try again in {seconds} s, or use an email."
    return TooManyRequests(detail, retry_after=seconds, headers=limits.headers([full], now))


def _list_send_windows(identity: Identity, source: str, now: datetime) -> list[Window]:
    """Return the hourly limits of an IP address, and the stage's daily limit of SMS."""
    quota = config.number("CODES_PER_ADDRESS")
    windows = limits.address_windows("codes", source, quota, limits.HOUR, now)
    return [*windows, *list_text_windows(identity, now)]


def list_text_windows(identity: Identity, now: datetime) -> list[Window]:
    """Return the stage's daily limit of SMS for a mobile number, nothing for an email."""
    if identity.kind == "email":
        return []
    return [limits.window(TEXTS, "stage", config.number("TEXTS_PER_DAY"), limits.DAY, now)]


def _require_country(identity: Identity) -> None:
    countries = config.setting("SMS_COUNTRIES").split(",")
    if identity.kind == "mobile" and "*" not in countries and identity.country not in countries:
        raise InvalidRequest.at(
            {"/mobile": "Text messages are not sent to numbers in this country"}
        )
