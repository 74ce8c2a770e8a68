"""What can be told without running anything: `make audit`, a part of `make check`.

Checkov on the templates, Bandit on the code, zizmor on the workflows, and of every package that we
ship its licence and whether a vulnerability of it is known. The tools have an environment of their
own, .local/checks. What can't be asked here, as without a network, is skipped and says so.
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
"""What we ship may be under these: they ask for a notice, and nothing of our own code."""

LICENCES_OF_SOME = {
    ("certifi", "Mozilla Public License 2.0 (MPL 2.0)"): "its file of certificates, unchanged",
    ("tqdm", "MPL-2.0"): "unchanged; google-generativeai wants it, and we never call it",
}
"""Licences that hold for one package only, and why that is fine."""

VULNERABILITIES: dict[str, str] = {}
"""Ids of vulnerabilities that do not concern us, and why."""

UNREACHABLE = re.compile(r"requests\.exceptions\.|Could not connect|not redirecting|timed out")


@dataclass(frozen=True)
class Outcome:
    """What a check found, one line a finding; or why it could not look."""

    findings: Sequence[str] = field(default_factory=list)
    skipped: str = ""


def main() -> int:
    """Run every check and tell what came of it; return the exit status."""
    with ThreadPoolExecutor() as pool:
        outcomes = dict(zip(ALL, pool.map(_timed, ALL.values()), strict=True))
    for name, (outcome, seconds) in outcomes.items():
        state = "failed" if outcome.findings else "skipped" if outcome.skipped else "ok"
        why = f": {outcome.skipped}" if outcome.skipped else ""
        print(f"{name:16} {state}{why} ({seconds:.1f} s)")
        for finding in outcome.findings:
            print(f"  {finding}")
    return int(any(outcome.findings for outcome, _ in outcomes.values()))


def _timed(check: Callable[[], Outcome]) -> tuple[Outcome, float]:
    began = time.monotonic()
    return check(), time.monotonic() - began


def templates() -> Outcome:
    """Hold the templates against Checkov's rules; .checkov.yaml has the exceptions."""
    done = _run("checkov", "--config-file", ".checkov.yaml", "-o", "json", "-f", *TEMPLATES)
    return of_checkov(done.stdout, done.stderr)


def of_checkov(said: str, complaints: str = "") -> Outcome:
    """Read Checkov's report; a template that it could not read is a finding."""
    report = _parsed(said)
    if not isinstance(report, dict) or "results" not in report:
        return Outcome([f"Checkov broke off: {_last_line(complaints or said)}"])
    failed = [
        f"{one['file_path'].lstrip('/')}:{one['file_line_range'][0]} {one['resource']}: "
        f"{one['check_name']} ({one['check_id']})"
        for one in report["results"]["failed_checks"]
    ]
    unread = [f"{path}: cannot be read" for path in report["results"].get("parsing_errors", [])]
    if report["summary"]["parsing_errors"] and not unread:
        unread = [f"{report['summary']['parsing_errors']} templates cannot be read"]
    return Outcome(unread + failed)


def code() -> Outcome:
    """Hold our code against Bandit's rules; pyproject.toml has the exceptions."""
    done = _run("bandit", "-q", "-c", "pyproject.toml", "-f", "json", "-r", *CODE)
    report = _parsed(done.stdout)
    if not isinstance(report, dict):
        return Outcome([f"Bandit broke off: {_last_line(done.stderr)}"])
    unread = [f"{one['filename']}: {one['reason']}" for one in report["errors"]]
    return Outcome(
        unread
        + [
            f"{one['filename']}:{one['line_number']} {one['issue_text']} ({one['test_id']})"
            for one in report["results"]
        ]
    )


def workflows() -> Outcome:
    """Hold the workflows against zizmor's rules, those that need no network."""
    done = _run("zizmor", "--offline", "--quiet", "--format", "json-v1", ".github/workflows")
    return of_zizmor(done.stdout, done.stderr)


def of_zizmor(said: str, complaints: str = "") -> Outcome:
    """Read zizmor's report."""
    report = _parsed(said)
    if not isinstance(report, list):
        return Outcome([f"zizmor broke off: {_last_line(complaints)}"])
    return Outcome([f"{_place(one)} {one['desc']} ({one['ident']})" for one in report])


def _place(finding: Any) -> str:
    """Return file and line of what a finding of zizmor's is about."""
    places = finding["locations"]
    chief = next((one for one in places if one["symbolic"]["kind"] == "Primary"), places[0])
    [file] = chief["symbolic"]["key"]["Local"].values()
    return f"{file}:{chief['concrete']['location']['start_point']['row'] + 1}"


def licences() -> Outcome:
    """See to it that every package that we ship is under a licence that we may ship."""
    wanted = shipped()
    python = ROOT / ".venv" / "bin" / "python"
    done = _run("pip-licenses", "--python", python, "--format", "json", "--packages", *wanted)
    report = _parsed(done.stdout)
    if not isinstance(report, list):
        return Outcome([f"pip-licenses broke off: {_last_line(done.stderr)}"])
    found = {canonical(one["Name"]): str(one["License"]) for one in report}
    missing = [f"{name}: not installed, run `make setup`" for name in wanted if name not in found]
    return Outcome(
        missing
        + [
            f"{name}: {licence} is not among the licences of infra/audit.py"
            for name, licence in found.items()
            if not is_allowed(name, licence)
        ]
    )


def is_allowed(package: str, licence: str) -> bool:
    """Say whether we may ship a package under this licence, an SPDX expression or classifiers."""
    every = re.split(r"; | AND ", licence)
    return all(
        any(
            one.strip() in LICENCES or (package, one) in LICENCES_OF_SOME
            for one in part.split(" OR ")
        )
        for part in every
    )


def vulnerabilities() -> Outcome:
    """Ask PyPI whether a vulnerability is known of a version that we ship."""
    files = [argument for file in REQUIREMENTS for argument in ("--requirement", file)]
    ignored = [argument for one in VULNERABILITIES for argument in ("--ignore-vuln", one)]
    settings = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "-f", "json"]
    done = _run("pip-audit", *settings, *files, *ignored)
    return of_pip_audit(done.stdout, done.stderr)


def of_pip_audit(said: str, complaints: str = "") -> Outcome:
    """Read pip-audit's report: silence about a package that it did not find is no approval."""
    report = _parsed(said)
    if not isinstance(report, dict):
        last = _last_line(complaints)
        if UNREACHABLE.search(last):
            return Outcome(skipped=f"PyPI cannot be asked here ({last[:80]} …)")
        return Outcome([f"pip-audit broke off: {last}"])
    packages = report["dependencies"]
    found = [
        f"{one['name']} {one['version']}: {known['id']}, "
        f"mended in {', '.join(known['fix_versions']) or 'no version yet'}"
        for one in packages
        for known in one.get("vulns", [])
    ]
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    if unknown and not found:
        of = f"{len(unknown)} of {len(packages)} packages"
        return Outcome(skipped=f"the index here has no vulnerability data on {of}")
    return Outcome(found)


def shipped() -> list[str]:
    """Return the names of all packages in the layers."""
    text = "\n".join((ROOT / file).read_text() for file in REQUIREMENTS)
    return sorted(set(re.findall(r"(?m)^([A-Za-z0-9._-]+)==", text)))


def canonical(name: str) -> str:
    """Return a package's name as requirements have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


ALL = {
    "templates": templates,
    "code": code,
    "workflows": workflows,
    "licences": licences,
    "vulnerabilities": vulnerabilities,
}


def _run(tool: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(CHECKS / tool), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _last_line(text: str) -> str:
    lines: Iterator[str] = (line.strip() for line in reversed(text.splitlines()))
    return next((line for line in lines if line), "it said nothing")


if __name__ == "__main__":
    sys.exit(main())
