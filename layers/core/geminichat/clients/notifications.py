"""Codes on the way to their owner: SMS by SNS, email by SES, one door for both."""

from urllib.parse import urlencode

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import UNSET, UnsetType

from geminichat.config import setting
from geminichat.domain import codes
from geminichat.domain.codes import Sending
from geminichat.errors import DeliveryFailed
from geminichat.runtime import aws_client, log

# One attempt: a message that was sent and whose answer was lost must not be sent again.
_sns = aws_client.Client("sns", connect=1, read=4, attempts=1)
_ses = aws_client.Client("ses", connect=1, read=4, attempts=1)


def send(sending: Sending, *, known: bool = True) -> str | UnsetType:
    """Send a stored code; return it where answers are to show it, a thing of development alone.

    `known` says whether there is an account that it is good for. Raises DeliveryFailed.
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
        log.error("code not sent", by=sending.identity.kind, reason=reason)
        if not shown:
            raise DeliveryFailed() from error
    return sending.code if shown else UNSET


def _text(number: str, text: str) -> None:
    attribute = "MessageAttributes.entry.1"
    asked = {
        "Action": "Publish",
        "Version": "2010-03-31",
        "PhoneNumber": number,
        "Message": text,
        f"{attribute}.Name": "AWS.SNS.SMS.SMSType",
        f"{attribute}.Value.DataType": "String",
        f"{attribute}.Value.StringValue": "Transactional",
    }
    kind = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    _sns.post("Publish", "/", kind, urlencode(asked).encode())


def _mail(address: str, subject: str, text: str) -> None:
    asked = {
        "FromEmailAddress": setting("MAIL_FROM"),
        "Destination": {"ToAddresses": [address]},
        "Content": {"Simple": {"Subject": {"Data": subject}, "Body": {"Text": {"Data": text}}}},
    }
    kind = {"content-type": "application/json"}
    _ses.post("SendEmail", "/v2/email/outbound-emails", kind, msgspec.json.encode(asked))
