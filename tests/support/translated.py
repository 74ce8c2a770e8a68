"""The template as CloudFormation receives it: translated by SAM's own translator."""

import functools
import json
import subprocess
from collections.abc import Mapping
from typing import Any

from infra.paths import MINISTACK_PYTHON
from infra.template import load

TRANSLATE = """
import json, sys
from samtranslator.translator.transform import transform

class ManagedPolicies:
    def load(self):
        return {name: f"arn:aws:iam::aws:policy/{name}" for name in
                ("service-role/AWSLambdaBasicExecutionRole", "AWSXRayDaemonWriteAccess")}

template, parameters = json.load(sys.stdin)
json.dump(transform(template, parameters, ManagedPolicies()), sys.stdout)
"""
UPLOADED = {
    "CodeUri": "s3://bucket/key",
    "ContentUri": "s3://bucket/key",
    "Location": "https://bucket.s3.amazonaws.com/key",
}
"""The values with which `sam deploy` replaces folders and files."""


@functools.cache
def translate_template(**given: str) -> Mapping[str, Any]:
    """Return the translated template's resources for these parameters, by logical id."""
    return translate(load(), given)


def translate(template: dict[str, Any], given: Mapping[str, str]) -> Mapping[str, Any]:
    """Translate a template, and return its resources by logical id. Changes the template."""
    for resource in template["Resources"].values():
        properties = resource["Properties"]
        properties.update({name: UPLOADED[name] for name in UPLOADED.keys() & properties.keys()})
    parameters = {
        name: str(spec.get("Default", "x")) for name, spec in template["Parameters"].items()
    }
    assert MINISTACK_PYTHON.exists(), "SAM's translator is not installed: run `make setup`"
    done = subprocess.run(
        [MINISTACK_PYTHON, "-c", TRANSLATE],
        input=json.dumps([template, parameters | dict(given)]),
        capture_output=True,
        text=True,
        env={"AWS_DEFAULT_REGION": "us-east-1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    resources: Mapping[str, Any] = json.loads(done.stdout)["Resources"]
    return resources
