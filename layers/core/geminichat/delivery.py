"""Codes on the way to their owner: SMS by SNS, email by SES, one door for both."""

from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import UNSET, UnsetType

from geminichat import aws
from geminichat.config import setting
from geminichat.domain import codes
from geminichat.domain.codes import Sending
from geminichat.errors import BadGateway
from geminichat.log import logger

_CONFIG = Config(connect_timeout=1, read_timeout=4, retries={"total_max_attempts": 1})
"""One attempt: a message that was sent and whose answer was lost must not be sent again."""

_clients: dict[str, Any] = {}


def _client(service: str) -> Any:
    if service not in _clients:
        _clients[service] = aws.session().create_client(service, config=_CONFIG)
    return _clients[service]


def send(sending: Sending, *, known: bool = True) -> str | UnsetType:
    """Send a stored code; return it where answers are to show it, a thing of development alone.

    `known` says whether there is an account that it is good for. Raises BadGateway.
    """
    shown = setting("OTP_DELIVERY") == "response"
    subject, text = codes.message(sending.purpose, sending.code, known=known)
    try:
        if sending.identity.kind == "mobile":
            _text(sending.identity.value, text)
        else:
            _mail(sending.identity.value, subject, text)
    except (ClientError, BotoCoreError) as error:
        reason = type(error).__name__
        if isinstance(error, ClientError):
            reason = error.response.get("Error", {}).get("Code", reason)
        logger.error("code not sent", extra={"by": sending.identity.kind, "reason": reason})
        if not shown:
            raise BadGateway(
                "The code could not be sent. Ask for another one in 30 seconds.",
                code="delivery-failed",
            ) from error
    return sending.code if shown else UNSET


def _text(number: str, text: str) -> None:
    kind = {"DataType": "String", "StringValue": "Transactional"}
    _client("sns").publish(
        PhoneNumber=number, Message=text, MessageAttributes={"AWS.SNS.SMS.SMSType": kind}
    )


def _mail(address: str, subject: str, text: str) -> None:
    _client("sesv2").send_email(
        FromEmailAddress=setting("MAIL_FROM"),
        Destination={"ToAddresses": [address]},
        Content={"Simple": {"Subject": {"Data": subject}, "Body": {"Text": {"Data": text}}}},
    )
