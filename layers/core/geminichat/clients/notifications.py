"""Send messages to an identity: an SMS through SNS, or an email through SES."""

from urllib.parse import urlencode

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from geminichat.config import setting
from geminichat.domain.identities import Identity
from geminichat.errors import DeliveryFailed, InvalidRequest
from geminichat.runtime import aws_client, log

# One attempt: a message must not be sent twice if only the answer was lost.
_sns = aws_client.Client("sns", connect=1, read=4, attempts=1)
_ses = aws_client.Client("ses", connect=1, read=4, attempts=1)


def send(identity: Identity, subject: str, text: str, *, ignore_failure: bool = False) -> None:
    """Send a message to an identity; with `ignore_failure`, a failure is only logged.

    Raises DeliveryFailed, and InvalidRequest for a number that SNS rejects.
    """
    try:
        if identity.kind == "mobile":
            _send_text(identity.value, text)
        else:
            _send_mail(identity.value, subject, text)
    except (ClientError, BotoCoreError) as error:
        reason = type(error).__name__
        if isinstance(error, ClientError):
            reason = error.response.get("Error", {}).get("Code", reason)
        log.error("message not sent", by=identity.kind, reason=reason)
        if not ignore_failure:
            if identity.kind == "mobile" and reason == "InvalidParameter":
                raise InvalidRequest.at(
                    {"/mobile": "Text messages cannot be sent to this number"}
                ) from error
            raise DeliveryFailed() from error


def _send_text(number: str, text: str) -> None:
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


def _send_mail(address: str, subject: str, text: str) -> None:
    asked = {
        "FromEmailAddress": setting("MAIL_FROM"),
        "Destination": {"ToAddresses": [address]},
        "Content": {"Simple": {"Subject": {"Data": subject}, "Body": {"Text": {"Data": text}}}},
    }
    kind = {"content-type": "application/json"}
    _ses.post("SendEmail", "/v2/email/outbound-emails", kind, msgspec.json.encode(asked))
