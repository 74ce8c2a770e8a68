"""The console's page, its script, and its vendored libraries."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from functions.console_asset import app as assets
from functions.console_page import app as page
from geminichat.domain import live
from infra.paths import ROOT
from tests.support import reader_rule

MODULES = ROOT / "functions" / "console_asset" / "modules"
node = pytest.mark.skipif(not shutil.which("node"), reason="no Node.js")


def test_vendored_files_have_the_recorded_hashes() -> None:
    folder = ROOT / "functions" / "console_asset"
    written = (folder / "VENDORED.md").read_text()
    hashes = re.findall(r"^ {4}([0-9a-f]{64})  (\S+)$", written, re.MULTILINE)
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "vendor").iterdir()
    }
    assert {name: digest for digest, name in hashes} == found


def test_the_console_page_names_assets_that_exist() -> None:
    named = set(re.findall(r'["/]console/([\w.-]+)"', page.page()))
    assert named == assets.files().keys() - {f"{name}.js" for name in assets.modules()}


def test_the_content_security_policy_allows_one_inline_script_by_hash_and_nothing_unsafe() -> None:
    policy = page.policy(sockets="")
    [script] = re.findall(r"<script[^>]*>([^<]+)</script>", page.page())
    json.loads(script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'; trusted-types dompurify" in policy


def test_the_joined_script_has_each_module_after_its_imports() -> None:
    joined = assets.join(
        {
            "app": 'import { one } from "./one.js";\nimport {\n  two\n} from "./two.js";\none();\n',
            "one": 'import { two } from "./two.js";\nexport function one() {}\n',
            "two": 'import * as lib from "lib";\nexport const two = 2;\nexport { lib };\n',
        }
    )
    assert joined == (
        'import * as lib from "lib";\nconst two = 2;\n\nfunction one() {}\n\none();\n'
    )


def run_in_node(module: str, code: str, given: object) -> Any:
    """Return the value of a JavaScript expression. `it` is the module, `given` the data."""
    script = f"import * as it from {json.dumps((MODULES / module).as_uri())};"
    script += f"const given = {json.dumps(given)}; console.log(JSON.stringify({code}));"
    command = ["node", "--input-type=module", "-"]
    utc = os.environ | {"TZ": "UTC"}
    done = subprocess.run(command, input=script, capture_output=True, text=True, env=utc)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@node
def test_the_console_reads_frames_by_the_same_rule_as_the_example_in_python() -> None:
    random = Random(17)
    texts = {attempt: "".join(random.choices("ab🙂é\n", k=40)) for attempt in (1, 2, 3)}
    lives = [[random_frame(random, texts) for _ in range(30)] for _ in range(200)]
    expected = [read_in_python(frames) for frames in lives]
    code = """given.map((frames) => frames.reduce(
        ([shown, seen], frame) => {
          const next = it.read(shown, frame);
          return "fetch" in next ? [shown, [...seen, next.fetch]] : [next, [...seen, next.text]];
        }, [it.NOTHING, []])[1])"""
    assert run_in_node("reader.js", code, lives) == expected


def random_frame(random: Random, texts: Mapping[int, str]) -> dict[str, Any]:
    """Return a random frame, such as a worker may send."""
    kind = random.choices(["text", "again", "look", "ended"], [20, 2, 1, 1])[0]
    attempt = random.choice([1, 1, 2, 3])
    text = texts[attempt]
    start, end = sorted(random.choices(range(len(text) + 1), k=2))
    named = {"type": kind, "messageId": "m_1"}
    match kind:
        case "text":
            offset = live.utf16_length(text[:start])
            return {**named, "attempt": attempt, "from": offset, "text": text[start:end]}
        case "again":
            return {**named, "attempt": attempt}
        case "ended":
            return {**named, "status": "answered"}
    return named


def read_in_python(frames: Sequence[Mapping[str, Any]]) -> list[str | int]:
    """Return, for each frame, the text that a reader shows or the offset that it fetches from."""
    shown, seen = reader_rule.Shown(), list[str | int]()
    for each in frames:
        frame = reader_rule.decode(json.dumps(each))
        assert frame
        assert not isinstance(frame, live.RoomFrame)
        match reader_rule.read(shown, frame):
            case reader_rule.Fetch(start=start):
                seen.append(start)
            case reader_rule.Shown() as shown:
                seen.append(shown.text)
    return seen


@node
@pytest.mark.parametrize(
    ("usage", "words"),
    [
        ({"limit": 5, "used": 1, "remaining": 4}, "4 of 5 prompts left today"),
        ({"limit": 1, "used": 0, "remaining": 1}, "1 of 1 prompt left today"),
        ({"limit": 5, "used": 5, "remaining": 0}, "No prompts left until Jan 1, 12:00 AM"),
        ({"limit": None, "used": 1, "remaining": None}, "1 prompt sent today"),
    ],
)
def test_the_console_states_usage_in_plain_words(usage: dict[str, Any], words: str) -> None:
    given = usage | {"resetsAt": "2100-01-01T00:00:00.000Z"}
    assert run_in_node("format.js", "it.usageInWords(given)", given).replace("\u202f", " ") == words


@node
def test_the_joined_script_is_valid_javascript(tmp_path: Path) -> None:
    script = tmp_path / "console.mjs"
    script.write_text(assets.files()["start.js"])
    assert not re.search(r'^export|from "\./', script.read_text(), re.MULTILINE)
    done = subprocess.run(["node", "--check", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
