"""What a build of SAM's lacks before it is deployed: its functions' byte-code, and a mark.

SAM copies a function's folder as it is, and Lambda cannot write into it: without byte-code there,
every cold start compiles the handler anew.

The mark tells a built template what parameters it is deployed with. SAM publishes a function's new
version when its code or a property changes as written, and a parameter's value is not written
there: the alias would stay on the version with the old value.
"""

import compileall
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from py_compile import PycInvalidationMode

from infra.template import load

MARK = "PARAMETERS_DIGEST"
"""The variable of every function that takes a new value when a parameter does."""


def compile_functions(built: Path) -> None:
    """Compile the functions in a folder of SAM's, as layers/build/build.py compiles layers."""
    for handler in built.glob("*/app.py"):
        compileall.compile_dir(
            handler.parent,
            quiet=1,
            stripdir=str(handler.parent),
            prependdir="/var/task",
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )


def stamp(template: Path, parameters: Mapping[str, str]) -> None:
    """Write a digest of the parameters, defaults included, into a template that SAM has built."""
    declared = load(template)["Parameters"]
    values = {name: str(spec.get("Default", "")) for name, spec in declared.items()}
    values.update(parameters)
    given = "\0".join(sorted(f"{name}={value}" for name, value in values.items()))
    digest = hashlib.sha256(given.encode()).hexdigest()[:16]
    text, found = re.subn(rf"(?m)^( *{MARK}:).*$", rf"\1 p{digest}", template.read_text())
    if found != 1:
        raise ValueError(f"{template} declares {MARK} {found} times, and once is right.")
    template.write_text(text)
