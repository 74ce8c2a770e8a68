"""Build one layer: install its wheels, copy our packages, delete unused files, and compile.

SAM copies the layer's folder, and runs `build.py ARCHITECTURE FOLDER` in the copy through the
Makefile of that architecture. Each layer's folder has a link to this file, so that SAM builds the
layers again when this file changes. The same input gives the same bytes, so that a second deploy
finds no change.
"""

import compileall
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from py_compile import PycInvalidationMode

# Lambda's python3.13 is Amazon Linux 2023 with glibc 2.34; wheels for 2.28 run on older hosts too.
PLATFORMS = {"x86_64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
PLATFORM = "LAYER_PLATFORM"
"""The environment variable that sets another platform, for the emulated cloud on this machine."""

NEVER_USED = ["*.dist-info", "*.pth", ".lock", "bin", "**/tests", "**/*.pyi", "**/py.typed"]


def build(architecture: str, folder: Path) -> None:
    """Build the layer in the current directory into `folder`."""
    layer = tomllib.loads(Path("layer.toml").read_text())
    install(os.environ.get(PLATFORM) or PLATFORMS[architecture], folder)
    for package in layer.get("packages", []):
        shutil.copytree(package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    if bundle := layer.get("certificates"):
        from certificates import make_hashed_folder

        make_hashed_folder(folder / bundle, folder / "certificates")
    leave_out(folder, [*NEVER_USED, *layer["leave_out"]])
    compile_all(folder)


def install(platform: str, folder: Path) -> None:
    """Install the layer's pinned wheels for the platform that it will run on."""
    if not shutil.which("uv"):
        sys.exit("uv is not on PATH. Run `make setup`, then PATH=.local/bin:$PATH sam build")
    command = ["uv", "pip", "install", "--quiet", "--no-config", "--link-mode", "copy"]
    command += ["--python", sys.executable, "--python-version", "3.13", "--no-deps"]
    command += ["--python-platform", platform, "--only-binary", ":all:", "--require-hashes"]
    done = subprocess.run([*command, "--target", folder, "--requirement", "requirements.txt"])
    if done.returncode:
        sys.exit("The layer's packages could not be installed: see uv's message above.")


def leave_out(folder: Path, patterns: list[str]) -> None:
    """Delete the files and folders that match a pattern."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def compile_all(folder: Path) -> None:
    """Write byte-code that stays valid if file times change, and that names Lambda's paths."""
    compiled = compileall.compile_dir(
        folder,
        quiet=1,
        workers=os.cpu_count() or 1,
        stripdir=str(folder),
        prependdir="/opt/python",
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        sys.exit("The layer has a file that does not compile.")


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
