"""Static checks of templates, code, workflows and packages: `make audit`, a part of `make check`.

Checkov checks the templates, Bandit checks the code, and zizmor checks the workflows. For every
package that we ship, pip-licenses checks the licence, and pip-audit finds known vulnerabilities.
The tools have their own Python environment, .local/checks. A check that cannot run, for example
without a network, is reported as skipped.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from infra.paths import ROOT, TOOLS

CHECKS = TOOLS / "checks" / "bin"
TEMPLATES = ["template.yaml", *sorted(f"infra/{path.name}" for path in ROOT.glob("infra/*.yaml"))]
REQUIREMENTS = sorted(
    str(path.relative_to(ROOT)) for path in ROOT.glob("layers/*/requirements.txt")
)
CODE = ["functions", "layers", "infra"]

LICENCES = {
    "Apache Software License",
    "Apache-2.0",
    "3-Clause BSD License",
    "BSD 3-Clause",
    "BSD License",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "MIT",
    "MIT License",
    "MIT No Attribution License (MIT-0)",
    "MIT-0",
    "PSF-2.0",
}
"""Licences that any package in the layers may have, because they only require a notice."""

LICENCES_OF_SOME = {
    (
        "certifi",
        "Mozilla Public License 2.0 (MPL 2.0)",
    ): "certifi's files are shipped unchanged",
    (
        "tqdm",
        "MPL-2.0",
    ): "tqdm is shipped unchanged, because google-generativeai requires it",
}
"""Licences that are allowed for one package only, each with the reason."""

VULNERABILITIES: dict[str, str] = {}
"""Ids of vulnerabilities that do not affect us, each with the reason."""

UNREACHABLE = re.compile(r"requests\.exceptions\.|Could not connect|not redirecting|timed out")


@dataclass(frozen=True)
class Outcome:
    """The findings of a check, one line each, or the reason why the check was skipped."""

    findings: Sequence[str] = field(default_factory=list)
    skipped: str = ""


def main() -> int:
    """Run every check, print the outcomes, and return the exit status."""
    with ThreadPoolExecutor() as pool:
        outcomes = dict(zip(ALL, pool.map(_measure, ALL.values()), strict=True))
    for name, (outcome, seconds) in outcomes.items():
        state = "failed" if outcome.findings else "skipped" if outcome.skipped else "ok"
        why = f": {outcome.skipped}" if outcome.skipped else ""
        print(f"{name:16} {state}{why} ({seconds:.1f} s)")
        for finding in outcome.findings:
            print(f"  {finding}")
    return int(any(outcome.findings for outcome, _ in outcomes.values()))


def _measure(check: Callable[[], Outcome]) -> tuple[Outcome, float]:
    began = time.monotonic()
    return check(), time.monotonic() - began


def check_templates() -> Outcome:
    """Check the templates with Checkov; .checkov.yaml has the exceptions."""
    done = _run("checkov", "--config-file", ".checkov.yaml", "-o", "json", "-f", *TEMPLATES)
    return read_checkov_report(done.stdout, done.stderr)


def read_checkov_report(output: str, errors: str = "") -> Outcome:
    """Return the outcome that Checkov's report describes; an invalid template is a finding."""
    report = _parse(output)
    if not isinstance(report, dict) or "results" not in report:
        return Outcome([f"Checkov failed: {_last_line(errors or output)}"])
    failed = [
        f"{one['file_path'].lstrip('/')}:{one['file_line_range'][0]} {one['resource']}: "
        f"{one['check_name']} ({one['check_id']})"
        for one in report["results"]["failed_checks"]
    ]
    unread = [f"{path}: cannot be read" for path in report["results"].get("parsing_errors", [])]
    if report["summary"]["parsing_errors"] and not unread:
        unread = [f"{report['summary']['parsing_errors']} templates cannot be read"]
    return Outcome(unread + failed)


def check_code() -> Outcome:
    """Check our code with Bandit; pyproject.toml has the exceptions."""
    done = _run("bandit", "-q", "-c", "pyproject.toml", "-f", "json", "-r", *CODE)
    report = _parse(done.stdout)
    if not isinstance(report, dict):
        return Outcome([f"Bandit failed: {_last_line(done.stderr)}"])
    unread = [f"{one['filename']}: {one['reason']}" for one in report["errors"]]
    return Outcome(
        unread
        + [
            f"{one['filename']}:{one['line_number']} {one['issue_text']} ({one['test_id']})"
            for one in report["results"]
        ]
    )


def check_workflows() -> Outcome:
    """Check the workflows with the rules of zizmor that need no network."""
    done = _run("zizmor", "--offline", "--quiet", "--format", "json-v1", ".github/workflows")
    return read_zizmor_report(done.stdout, done.stderr)


def read_zizmor_report(output: str, errors: str = "") -> Outcome:
    """Return the outcome that zizmor's report (JSON) describes."""
    report = _parse(output)
    if not isinstance(report, list):
        return Outcome([f"zizmor failed: {_last_line(errors)}"])
    return Outcome([f"{_place(one)} {one['desc']} ({one['ident']})" for one in report])


def _place(finding: Any) -> str:
    """Return the file and line of a finding in zizmor's report."""
    places = finding["locations"]
    primary = next((one for one in places if one["symbolic"]["kind"] == "Primary"), places[0])
    [file] = primary["symbolic"]["key"]["Local"].values()
    return f"{file}:{primary['concrete']['location']['start_point']['row'] + 1}"


def check_licences() -> Outcome:
    """Check that the licence of every package in the layers is allowed."""
    names = list_shipped()
    python = ROOT / ".venv" / "bin" / "python"
    done = _run("pip-licenses", "--python", python, "--format", "json", "--packages", *names)
    report = _parse(done.stdout)
    if not isinstance(report, list):
        return Outcome([f"pip-licenses failed: {_last_line(done.stderr)}"])
    found = {normalise(one["Name"]): str(one["License"]) for one in report}
    missing = [f"{name}: not installed, run `make setup`" for name in names if name not in found]
    return Outcome(
        missing
        + [
            f"{name}: {licence} is not one of the licences in infra/audit.py"
            for name, licence in found.items()
            if not is_allowed(name, licence)
        ]
    )


def is_allowed(package: str, licence: str) -> bool:
    """Return whether a package may have this licence (an SPDX expression or classifiers)."""
    every = re.split(r"; | AND ", licence)
    return all(
        any(
            one.strip() in LICENCES or (package, one) in LICENCES_OF_SOME
            for one in part.split(" OR ")
        )
        for part in every
    )


def check_vulnerabilities() -> Outcome:
    """Check with PyPI whether a package in the layers has a known vulnerability."""
    files = [argument for file in REQUIREMENTS for argument in ("--requirement", file)]
    ignored = [argument for one in VULNERABILITIES for argument in ("--ignore-vuln", one)]
    settings = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "-f", "json"]
    done = _run("pip-audit", *settings, *files, *ignored)
    return read_pip_audit_report(done.stdout, done.stderr)


def read_pip_audit_report(output: str, errors: str = "") -> Outcome:
    """Return the outcome of pip-audit's report: skipped if PyPI has no data for a package."""
    report = _parse(output)
    if not isinstance(report, dict):
        last = _last_line(errors)
        if UNREACHABLE.search(last):
            return Outcome(skipped=f"PyPI is not reachable ({last[:80]} …)")
        return Outcome([f"pip-audit failed: {last}"])
    packages = report["dependencies"]
    found = [
        f"{one['name']} {one['version']}: {known['id']}, "
        f"fixed in {', '.join(known['fix_versions']) or 'no version yet'}"
        for one in packages
        for known in one.get("vulns", [])
    ]
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    if unknown and not found:
        of = f"{len(unknown)} of {len(packages)} packages"
        return Outcome(skipped=f"the package index has no vulnerability data for {of}")
    return Outcome(found)


def list_shipped() -> list[str]:
    """Return the names of all packages in the layers."""
    text = "\n".join((ROOT / file).read_text() for file in REQUIREMENTS)
    return sorted(set(re.findall(r"(?m)^([A-Za-z0-9._-]+)==", text)))


def normalise(name: str) -> str:
    """Return a package's normalised name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


ALL = {
    "templates": check_templates,
    "code": check_code,
    "workflows": check_workflows,
    "licences": check_licences,
    "vulnerabilities": check_vulnerabilities,
}


def _run(tool: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(CHECKS / tool), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _last_line(text: str) -> str:
    lines: Iterator[str] = (line.strip() for line in reversed(text.splitlines()))
    return next((line for line in lines if line), "no output")


if __name__ == "__main__":
    sys.exit(main())
