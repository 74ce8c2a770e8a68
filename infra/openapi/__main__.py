"""Write the OpenAPI document and the Postman collection; with `--check`, only list stale files.

Run it as `python -m infra.openapi`.
"""

import argparse
import json
import sys
from pathlib import Path

from infra.openapi.document import DocumentError, document
from infra.openapi.postman import collection
from infra.template import ROOT

DOCUMENT = ROOT / "functions" / "docs_openapi" / "openapi.json"
COLLECTION = ROOT / "functions" / "docs_asset" / "postman.json"


def documents() -> dict[Path, str]:
    """Return the content of each document by its path."""
    made = document()
    return {DOCUMENT: _text(made), COLLECTION: _text(collection(made))}


def _text(value: object) -> str:
    """Return JSON without indentation and with a line per value, which makes diffs readable."""
    return json.dumps(value, indent=0, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the documents that have changed; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only list stale files")
    options = parser.parse_args()
    try:
        expected = documents()
    except (DocumentError, LookupError) as error:
        print(error, file=sys.stderr)
        return 1
    stale = {
        path: text
        for path, text in expected.items()
        if not path.exists() or path.read_text() != text
    }
    for path, text in stale.items():
        name = path.relative_to(ROOT)
        if options.check:
            print(f"{name} is stale: run `make openapi`")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"{name} written")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
