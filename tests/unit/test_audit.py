"""The audit reads the outcome of each check from its tool's report."""

import json
import re
from typing import Any

import pytest

from infra import audit
from infra.audit import Outcome
from infra.template import ROOT


def pip_audit(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


SOUND = {"name": "sound", "version": "1", "vulns": []}
UNKNOWN = {"name": "ours", "skip_reason": "not found on PyPI"}
HURT = {
    "name": "hurt",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}],
}


def test_a_known_vulnerability_is_a_finding_even_if_other_packages_are_unknown() -> None:
    found = Outcome(["hurt 1.0: PYSEC-1, fixed in 1.1"])
    assert audit.read_pip_audit_report(pip_audit(SOUND, HURT, UNKNOWN)) == found


def test_packages_without_known_vulnerabilities_pass_the_audit() -> None:
    assert audit.read_pip_audit_report(pip_audit(SOUND)) == Outcome()


def test_a_package_without_vulnerability_data_does_not_pass_the_audit() -> None:
    outcome = audit.read_pip_audit_report(pip_audit(SOUND, UNKNOWN))
    assert outcome == Outcome(
        skipped="the package index has no vulnerability data for 1 of 2 packages"
    )


def test_without_a_network_the_audit_skips_a_check_with_a_reason() -> None:
    last = "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='index.example')"
    outcome = audit.read_pip_audit_report("", f"Traceback …\n{last}\n\n")
    assert outcome.findings == []
    assert "PyPI is not reachable" in outcome.skipped


def test_an_audit_tool_that_fails_is_a_finding() -> None:
    broken = audit.read_pip_audit_report("", "error: no such option: --x\n")
    assert broken == Outcome(["pip-audit failed: error: no such option: --x"])
    assert audit.read_checkov_report("", "KeyError") == Outcome(["Checkov failed: KeyError"])


def test_a_finding_in_a_workflow_names_its_line() -> None:
    def place(kind: str, row: int) -> dict[str, Any]:
        return {
            "symbolic": {"key": {"Local": {"verbatim_path": "a.yml"}}, "kind": kind},
            "concrete": {"location": {"start_point": {"row": row, "column": 8}}},
        }

    places = [place("Hidden", 1), place("Primary", 20)]
    found = {"ident": "unpinned-uses", "desc": "unpinned action reference", "locations": places}
    lines = ["a.yml:21 unpinned action reference (unpinned-uses)"]
    assert audit.read_zizmor_report(json.dumps([found])).findings == lines
    assert audit.read_zizmor_report("[]") == Outcome()


FAILED = {
    "file_path": "/infra/x.yaml",
    "file_line_range": [3, 9],
    "resource": "AWS::SNS::Topic.Alerts",
    "check_name": "Ensure it",
    "check_id": "CKV_AWS_26",
}


@pytest.mark.parametrize(
    ("failed", "unread", "findings"),
    [
        ([], 0, []),
        ([FAILED], 0, ["infra/x.yaml:3 AWS::SNS::Topic.Alerts: Ensure it (CKV_AWS_26)"]),
        ([], 1, ["1 templates cannot be read"]),
    ],
)
def test_a_failed_template_check_or_an_unreadable_template_is_a_finding(
    failed: list[Any], unread: int, findings: list[str]
) -> None:
    report = {"results": {"failed_checks": failed}, "summary": {"parsing_errors": unread}}
    assert audit.read_checkov_report(json.dumps(report)).findings == findings


@pytest.mark.parametrize(
    ("package", "licence", "allowed"),
    [
        ("a", "MIT", True),
        ("a", "MIT License; MIT No Attribution License (MIT-0)", True),
        ("a", "BSD 3-Clause OR Apache-2.0", True),
        ("a", "GPL-3.0-only OR MIT", True),
        ("a", "MIT AND GPL-3.0-only", False),
        ("a", "GPLv3", False),
        ("a", "UNKNOWN", False),
        ("tqdm", "MPL-2.0 AND MIT", True),
        ("a", "MPL-2.0 AND MIT", False),
    ],
)
def test_a_licence_expression_is_allowed_if_allowed_licences_satisfy_it(
    package: str, licence: str, allowed: bool
) -> None:
    assert audit.is_allowed(package, licence) == allowed


def test_every_package_in_the_layers_is_checked() -> None:
    names = audit.list_shipped()
    assert {"botocore", "google-generativeai", "stripe"} <= set(names)
    assert names == [audit.normalise(name) for name in names]


def test_every_exception_from_checkovs_rules_has_its_reason() -> None:
    skipped = re.findall(r"(?m)^ +- CKV\w+(.*)$", (ROOT / ".checkov.yaml").read_text())
    assert skipped
    assert all(reason.startswith(" # ") for reason in skipped)
    assert all(audit.LICENCES_OF_SOME.values())
    assert all(audit.VULNERABILITIES.values())
