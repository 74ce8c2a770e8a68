"""Add to a build what `sam build` leaves out: byte-code of functions, and a parameter digest.

SAM copies a function's folder as it is, and Lambda cannot write into it: without byte-code, every
cold start compiles the handler again.

The digest changes when a parameter does. SAM publishes a new version of a function only when its
code or its text in the template changes, and a parameter's new value changes neither: the alias
would stay on the version with the old value.
"""

import compileall
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from py_compile import PycInvalidationMode

from infra.template import load

MARK = "PARAMETERS_DIGEST"
"""The variable of every function that holds the digest."""


def compile_functions(built: Path) -> None:
    """Compile the functions in SAM's build folder, as layers/build/build.py compiles layers."""
    for handler in built.glob("*/app.py"):
        compileall.compile_dir(
            handler.parent,
            quiet=1,
            stripdir=str(handler.parent),
            prependdir="/var/task",
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )


def stamp(template: Path, parameters: Mapping[str, str]) -> None:
    """Write a digest of all parameters, defaults included, into a built template."""
    declared = load(template)["Parameters"]
    values = {name: str(spec.get("Default", "")) for name, spec in declared.items()}
    values.update(parameters)
    given = "\0".join(sorted(f"{name}={value}" for name, value in values.items()))
    digest = hashlib.sha256(given.encode()).hexdigest()[:16]
    text, found = re.subn(rf"(?m)^( *{MARK}:).*$", rf"\1 p{digest}", template.read_text())
    if found != 1:
        raise ValueError(f"{template} declares {MARK} {found} times instead of once.")
    template.write_text(text)
