"""The console's page, its script, and the libraries that are kept with it."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from functions.console_asset import app as assets
from functions.console_page import app as page
from infra.paths import ROOT

node = pytest.mark.skipif(not shutil.which("node"), reason="no Node.js")


def test_vendored_files_are_those_whose_hashes_are_written_down() -> None:
    folder = ROOT / "functions" / "console_asset"
    written = (folder / "VENDORED.md").read_text()
    hashes = re.findall(r"^ {4}([0-9a-f]{64})  (\S+)$", written, re.MULTILINE)
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "vendor").iterdir()
    }
    assert {name: digest for digest, name in hashes} == found


def test_the_page_names_assets_that_exist() -> None:
    named = set(re.findall(r'["/]console/([\w.-]+)"', page.PAGE))
    assert named == assets.FILES.keys() - {f"{name}.js" for name in assets.MODULES}


def test_the_policy_allows_one_inline_script_by_its_hash_and_nothing_unsafe() -> None:
    policy = page.HEADERS["content-security-policy"]
    [script] = re.findall(r"<script[^>]*>([^<]+)</script>", page.PAGE)
    json.loads(script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'; trusted-types dompurify" in policy


def test_modules_are_joined_each_after_those_that_it_imports() -> None:
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


@node
def test_the_joined_script_is_valid(tmp_path: Path) -> None:
    script = tmp_path / "console.mjs"
    script.write_text(assets.FILES["console.js"])
    assert not re.search(r'^export|from "\./', script.read_text(), re.MULTILINE)
    done = subprocess.run(["node", "--check", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
