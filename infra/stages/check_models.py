"""Compare the catalogue of models with Google's list: `make models`.

STAGE=dev applies the ModelsPatch of that stage. Google's list is read with the key in
GEMINI_API_KEY; without a key, only the dates are checked. The command fails if rooms may
choose a model that Google does not serve, or that retires within 30 days.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime

from geminichat.clients import gemini_sdk
from geminichat.domain.catalogue import SHIPPED
from geminichat.domain.models import Catalogue
from infra.command import CommandError
from infra.stages import stage as stages
from infra.stages.command import command


@command
def main(arguments: list[str]) -> None:
    """Print every model. Raises CommandError if the catalogue must be changed."""
    parser = argparse.ArgumentParser(prog="make models", description=__doc__)
    parser.add_argument("stage", nargs="?", help="apply the ModelsPatch of this stage")
    name = parser.parse_args(arguments).stage
    catalogue = read_catalogue(stages.read(name).parameters if name else {})
    served = list_served() if os.environ.get("GEMINI_API_KEY") else None
    print(describe(catalogue, served))
    concerns = catalogue.concerns(
        catalogue.models.keys() if served is None else served, datetime.now(UTC).date()
    )
    if served is None:
        print("Google's list was not read: set GEMINI_API_KEY to compare with the list.")
    if concerns:
        raise CommandError("\n".join(concerns))


def read_catalogue(parameters: Mapping[str, str]) -> Catalogue:
    """Return the catalogue with a stage's patch. Raises CommandError if the result is invalid."""
    patch = parameters.get("ModelsPatch", "").strip("'")
    try:
        return Catalogue.read(SHIPPED, json.loads(patch) if patch else None)
    except ValueError as error:
        raise CommandError(
            f"ModelsPatch in samconfig.toml makes the catalogue invalid: {error}."
        ) from error


def list_served() -> set[str]:
    """Return the models that Google serves to GEMINI_API_KEY. Raises CommandError."""
    try:
        return gemini_sdk.list_served(os.environ["GEMINI_API_KEY"])
    except Exception as error:
        raise CommandError(f"Google's list of models could not be read: {error}") from error


def describe(catalogue: Catalogue, served: set[str] | None) -> str:
    """Return a line per model: aliases, plans, whether Google serves it, and its retirement."""
    lines = []
    for model in catalogue.models.values():
        aliases = [alias for alias, named in catalogue.aliases.items() if named == model.id]
        notes = [*aliases, *sorted(model.plans)]
        if served is not None:
            notes.append("served" if model.id in served else "not served to this key")
        if model.retires:
            notes.append(f"retires {_date(model.retires)}")
        if model.replaced_by:
            notes.append(f"then {model.replaced_by}")
        lines.append(f"  {model.id:<24} {', '.join(notes)}")
    return "\n".join(lines)


def _date(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
