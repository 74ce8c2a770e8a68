"""The size of each layer, of its packages as shipped, and of each function."""

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from tests.bench.lab import Lab
from tests.support.template import FUNCTIONS

MB = 1e6
GOALS = {"core": 20.0, "stripe": 20.0, "gemini": 80.0}
"""MB unzipped, byte-code included. Lambda's limit is 250 for a function with all its layers."""


@dataclass(frozen=True)
class Size:
    """A size in MB, unzipped and zipped."""

    unzipped: float
    zipped: float


def of(folder: Path) -> Size:
    """Return the size of a folder's files."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(folder))
    return Size(sum(path.stat().st_size for path in files) / MB, len(packed.getvalue()) / MB)


def measure(lab: Lab) -> dict[str, Size]:
    """Return the sizes of layers, of their packages as shipped, and of functions, by name."""
    found = {}
    for name in GOALS:
        found[name] = of(lab.trees.layer(name))
        found[f"{name}, as shipped"] = of(lab.trees.package(name))
    for name in FUNCTIONS:
        found[name] = of(lab.trees.function(name))
    return found
