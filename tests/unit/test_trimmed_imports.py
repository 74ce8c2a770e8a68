"""Libraries imported without some of their modules, each in a fresh process."""

import pytest

from tests.support.fresh_process import run

SKIP = """
import sys
from geminichat.runtime.trimmed_imports import skip_modules
with skip_modules({'json': {'seven': 7}}):"""


def test_a_skipped_module_has_only_the_given_names_and_is_not_loaded() -> None:
    assert run(f"{SKIP} import json\nprint(json.seven, 'json.decoder' in sys.modules)") == "7 False"


def test_a_skipped_module_is_loaded_when_any_other_name_is_used() -> None:
    assert run(f"{SKIP} import json\nprint(json.dumps([1]), json.seven)") == "[1] 7"


def test_an_import_after_the_with_block_gets_the_real_module() -> None:
    code = f"{SKIP} pass\nimport json\nprint(json.dumps([1]), hasattr(json, 'seven'))"
    assert run(code) == "[1] False"


def test_a_module_that_is_already_loaded_is_not_skipped() -> None:
    code = f"import json\n{SKIP} import json as again\nprint(again is json, again.dumps(1))"
    assert run(code) == "True 1"


def test_a_skipped_submodule_is_no_attribute_of_its_package_after_the_with_block() -> None:
    code = """
import xml
from geminichat.runtime.trimmed_imports import skip_modules
with skip_modules({'xml.sax': {}}):
    from xml import sax
    assert 'xml.sax.handler' not in __import__('sys').modules
print(hasattr(xml, 'sax'))
import xml.sax
print(xml.sax.ContentHandler.__name__)
"""
    assert run(code) == "False\nContentHandler"


@pytest.mark.parametrize(
    ("ours", "left_out"),
    [
        (
            "geminichat.tables.users",
            ["botocore.client", "botocore.session", "jmespath"],
        ),
        ("geminichat.upstash.redis", ["httpx", "asyncio"]),
        ("geminichat.clients.stripe_sdk", ["asyncio"]),
        ("geminichat.runtime.jwt_codec", ["jwt.jwks_client", "urllib.request"]),
        ("geminichat.runtime.log", ["jmespath", "aws_lambda_powertools.shared.user_agent"]),
    ],
)
def test_a_trimmed_library_is_imported_without_its_unused_modules(
    ours: str, left_out: list[str]
) -> None:
    code = f"""
import sys
import {ours}
print(*[name for name in {left_out} if name in sys.modules])
"""
    assert run(code) == ""


CLAIM = """
from datetime import UTC, datetime
from geminichat.runtime.jwt_codec import jwt
token = jwt.encode({'iat': datetime(2026, 1, 1, tzinfo=UTC)}, b'k' * 32)
print(jwt.decode(token, b'k' * 32, ['HS256']))
"""

KEY_SET = """
from geminichat.runtime.jwt_codec import jwt
from jwt import jwks_client
print(jwks_client.PyJWKClient('https://localhost/').uri)
"""


@pytest.mark.parametrize(
    ("code", "printed"),
    [(CLAIM, "{'iat': 1767225600}"), (KEY_SET, "https://localhost/")],
    ids=["a datetime as claim", "a key set"],
)
def test_a_skipped_module_works_when_it_is_used_later(code: str, printed: str) -> None:
    assert printed in run(code)


def test_stripes_sdk_works_without_the_http_packages_that_its_layer_leaves_out() -> None:
    code = """
import sys
sys.modules.update(dict.fromkeys(["requests", "httpx"]))
from geminichat.clients import stripe_sdk
client = stripe_sdk.create_client("sk_test_1", endpoint="", read=1, retries=0)
print(type(client).__name__, "urllib3" in sys.modules)
"""
    assert run(code) == "StripeClient False"


def test_boto3_works_after_our_tables_were_imported() -> None:
    code = """
import geminichat.tables.users
import boto3
print(boto3.client('sqs', region_name='us-east-1').meta.service_model.service_name)
"""
    assert run(code) == "sqs"
