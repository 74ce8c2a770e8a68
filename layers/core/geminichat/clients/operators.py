"""STS: identify the operator who signed a request.

A Lambda function does not learn who invokes it, and a name in its payload could be forged. So the
operator signs a GetCallerIdentity request to STS and sends the signature with the act, as with
HashiCorp Vault and EKS. The function sends that request, and STS answers with the identity that
signed it. The signature covers a digest of the act and the stage, so it is invalid for other acts.
"""

import hashlib
import re
from collections.abc import Mapping

from geminichat.config import setting
from geminichat.errors import Unauthorized, Unavailable
from geminichat.runtime import aws_client, http_client, log

BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
FORM = "application/x-www-form-urlencoded; charset=utf-8"
BOUND_TO = "x-geminichat-act"
"""The signed header that holds the digest of the act."""
PROOF = {
    "authorization": r"AWS4-HMAC-SHA256 Credential=[\w/+=.-]+, ?"
    r"SignedHeaders=(?P<signed>[\w;-]+), ?Signature=[0-9a-f]{64}",
    "x-amz-date": r"\d{8}T\d{6}Z",
    "x-amz-security-token": r"[!-~]+",
}
"""The headers that the operator sends with the act, and the pattern that each must match.

Without the patterns, STS could see other signed headers than this function checks.
"""

UNPROVEN = "Your AWS identity could not be verified. Check your credentials and your clock."


def digest(request: str, stage: str) -> str:
    """Return the digest of a request and a stage, which the operator's signature covers."""
    return hashlib.sha256(f"{stage}\n{request}".encode()).hexdigest()


def identify(request: str, proof: Mapping[str, str], account: str) -> str:
    """Return the ARN of the identity that signed a request.

    Raises Unauthorized for an invalid signature or another AWS account, and Unavailable if STS does
    not answer.
    """
    headers = {name: proof[name] for name in PROOF if name in proof}
    forms = {name: re.fullmatch(PROOF[name], value, re.ASCII) for name, value in headers.items()}
    signature = forms.get("authorization")
    if not signature or not all(forms.values()):
        raise Unauthorized(UNPROVEN)
    if not {BOUND_TO, "host", "x-amz-date"} <= set(signature["signed"].split(";")):
        raise Unauthorized(UNPROVEN)
    headers |= {
        "content-type": FORM,
        BOUND_TO: digest(request, setting("STAGE")),
        "amz-sdk-request": "attempt=1; max=1",
    }
    url = f"{aws_client.endpoint('sts')}/"
    idle = http_client.IDLE_LIMIT_ONE_ATTEMPT
    try:
        answer = aws_client.transport(
            "sts.GetCallerIdentity", url, headers, BODY, 1.0, 3.0, idle, "POST"
        )
    except http_client.RequestFailed as error:
        raise Unavailable() from error
    found = re.search(r"<Arn>(arn:[^<]+)</Arn>", answer.body.decode(errors="replace"))
    if answer.status != 200 or not found:
        log.warning("operator not identified", status=answer.status)
        raise Unauthorized(UNPROVEN)
    arn = found[1]
    if arn.split(":")[4] != account:
        log.warning("operator of another account", operator=arn)
        raise Unauthorized("Your AWS identity belongs to another account than this stage.")
    return arn
