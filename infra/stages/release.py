"""Add byte-code and a digest of the parameters to the output of `sam build`.

SAM copies a function's folder without byte-code, and Lambda cannot write to the folder: without
this step, every cold start would compile the handler again.

SAM publishes a new version of a function only if the function's code or its block in the template
changes. A new value of a parameter changes neither of the two, so the alias would stay on the
version with the old value. Therefore each function has a digest of all parameters.
"""

import compileall
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from py_compile import PycInvalidationMode

from infra.template import load

MARK = "PARAMETERS_DIGEST"
"""The environment variable that holds the digest in every function."""


def compile_functions(built: Path) -> None:
    """Compile the functions in SAM's build folder to byte-code for /var/task."""
    for handler in built.glob("*/app.py"):
        compileall.compile_dir(
            handler.parent,
            quiet=1,
            stripdir=str(handler.parent),
            prependdir="/var/task",
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )


def stamp(template: Path, parameters: Mapping[str, str]) -> None:
    """Write the digest of all parameters, including defaults, to a built template."""
    declared = load(template)["Parameters"]
    values = {name: str(spec.get("Default", "")) for name, spec in declared.items()}
    values.update(parameters)
    given = "\0".join(sorted(f"{name}={value}" for name, value in values.items()))
    digest = hashlib.sha256(given.encode()).hexdigest()[:16]
    text, found = re.subn(rf"(?m)^( *{MARK}:).*$", rf"\1 p{digest}", template.read_text())
    if found != 1:
        raise ValueError(f"{template} declares {MARK} {found} times instead of once.")
    template.write_text(text)
