"""SDKs imported without some of their modules, each in a fresh process, since modules are kept."""

import os
import subprocess
import sys

import pytest

from infra.template import ROOT


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "layers/core"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


WITHOUT = (
    "import sys; from geminichat.runtime import trimmed_imports as lean\n"
    "with lean.without({'json': {'seven': 7}}):"
)


def test_a_module_left_out_is_not_loaded_and_has_what_it_was_given() -> None:
    assert run(f"{WITHOUT} import json\nprint(json.seven, 'json.decoder' in sys.modules)") == (
        "7 False"
    )


def test_a_module_left_out_is_the_real_one_for_whoever_asks_it_for_more() -> None:
    assert run(f"{WITHOUT} import json\nprint(json.dumps([1]), json.seven)") == "[1] 7"


def test_whoever_imports_it_afterwards_gets_the_real_one() -> None:
    code = f"{WITHOUT} pass\nimport json\nprint(json.dumps([1]), hasattr(json, 'seven'))"
    assert run(code) == "[1] False"


def test_a_module_that_was_there_before_stays() -> None:
    code = f"import json\n{WITHOUT} import json as again\nprint(again is json, again.dumps(1))"
    assert run(code) == "True 1"


def test_a_module_within_a_package_is_its_packages_again_afterwards() -> None:
    code = """
import xml
from geminichat.runtime import trimmed_imports as lean
with lean.without({'xml.sax': {}}):
    from xml import sax
    assert 'xml.sax.handler' not in __import__('sys').modules
print(hasattr(xml, 'sax'))
import xml.sax
print(xml.sax.ContentHandler.__name__)
"""
    assert run(code) == "False\nContentHandler"


def test_a_module_may_be_as_if_it_were_not_installed() -> None:
    code = """
from geminichat.runtime import trimmed_imports as lean
with lean.without({'json': None}):
    try:
        import json
    except ImportError:
        print('none')
import json
print(json.dumps([1]))
"""
    assert run(code) == "none\n[1]"


UNOPENED = """
import sys
from geminichat.runtime import trimmed_imports as lean
with lean.without({}, unopened=['json', 'xml', 'xml.sax']):
    import json.scanner
    from xml.sax import handler
"""


def test_of_an_unopened_package_only_the_modules_asked_for_are_loaded() -> None:
    code = f"{UNOPENED}print('json.decoder' in sys.modules, 'xml.sax.xmlreader' in sys.modules)"
    assert run(f"{code}\nprint(json.scanner.__name__, handler.__name__)") == (
        "False False\njson.scanner xml.sax.handler"
    )


def test_an_unopened_package_opens_for_whoever_asks_it_for_more() -> None:
    code = f"""{UNOPENED}
import xml.sax
from xml.sax import make_parser
print(json.dumps([1]), make_parser.__name__, xml.sax.handler is handler)
"""
    assert run(code) == "[1] make_parser True"


@pytest.mark.parametrize(
    ("ours", "left_out"),
    [
        ("geminichat.runtime.http_client", ["email.header", "calendar", "ipaddress"]),
        (
            "geminichat.tables.users",
            ["botocore.client", "botocore.session", "jmespath"],
        ),
        ("geminichat.upstash.redis", ["httpx", "asyncio"]),
        ("geminichat.clients.gemini", ["grpc", "cryptography", "pydantic", "googleapiclient"]),
        (
            "geminichat.clients.gemini",
            ["asyncio", "charset_normalizer", "importlib.metadata", "zipfile"],
        ),
        ("geminichat.clients.stripe_sdk", ["httpx", "asyncio", "requests"]),
        ("geminichat.runtime.jwt_codec", ["jwt.jwks_client", "calendar"]),
        ("geminichat.runtime.log", ["jmespath", "aws_lambda_powertools.shared.user_agent"]),
    ],
)
def test_our_modules_leave_out_what_they_never_use(ours: str, left_out: list[str]) -> None:
    code = f"""
import sys
import {ours}
print(*[name for name in {left_out} if name in sys.modules])
"""
    assert run(code) == ""


ODD_HEADER = """
from geminichat.runtime import http_client as wire
from email.message import Message
message = Message()
message['x'] = 'a\\udce9'
print(message['x'])
"""

IPV6 = """
from geminichat.runtime import http_client as wire
from urllib.parse import urlsplit
print(urlsplit('http://[::1]:80/').hostname)
"""

CLAIM = """
from datetime import UTC, datetime
from geminichat.runtime.jwt_codec import jwt
token = jwt.encode({'iat': datetime(2026, 1, 1, tzinfo=UTC)}, b'k' * 32)
print(jwt.decode(token, b'k' * 32, ['HS256']))
"""


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("import geminichat, msgspec.inspect as i; print(i.type_info(int))", "IntType("),
        ("import geminichat, msgspec; print(msgspec.json.schema(list[int]))", "'array'"),
        ("import geminichat, typing_extensions as t; print(t.TypeForm)", "TypeForm"),
        (ODD_HEADER, "a\ufffd"),
        (IPV6, "::1"),
        (CLAIM, "{'iat': 1767225600}"),
    ],
    ids=["inspect", "schemas", "typing_extensions", "odd header", "IPv6", "a datetime as claim"],
)
def test_what_was_left_out_is_there_for_whoever_does_use_it(code: str, printed: str) -> None:
    assert printed in run(code)


def test_all_of_an_unopened_package_is_what_it_says_itself() -> None:
    assert run(f"{UNOPENED}\nfrom json import *\nprint(loads('[1]'))") == "[1]"


def test_geminis_sdk_works_whole_after_our_door_was_imported() -> None:
    code = """
import geminichat.clients.gemini
import google.generativeai as genai
genai.configure(api_key='none', transport='rest')
print(genai.ChatSession.__name__, genai.GenerativeModel('gemini-2.5-flash').model_name)
print(genai.GenerativeModel is geminichat.clients.gemini_sdk.GenerativeModel)
print(genai.protos.EmbedContentRequest.__name__)
"""
    assert run(code) == "ChatSession models/gemini-2.5-flash\nTrue\nEmbedContentRequest"


def test_boto3_works_after_our_tables_were_imported() -> None:
    code = """
import geminichat.tables.users
import boto3
print(boto3.client('sqs', region_name='us-east-1').meta.service_model.service_name)
"""
    assert run(code) == "sqs"
