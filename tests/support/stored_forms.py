"""The attributes of each table, and the JSON in items and queues, as a release stores them.

`python -m tests.support.stored_forms` writes this release's forms to stored_forms.json. Run it
when a release is tagged: a test compares later releases with this file.
"""

import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from geminichat import tables as package
from geminichat.clients.prompt_queue import Job
from geminichat.clients.title_queue import TitleJob
from geminichat.domain.lines import Line
from geminichat.domain.plans import Plan
from geminichat.domain.spending import Reservation
from geminichat.tables.table import Table

FILE = Path(__file__).with_suffix(".json")
ROOM = "r_" + "a" * 26

type Types = dict[str, str]
"""DynamoDB's type of each attribute, by name."""

VALUES: Mapping[str, Any] = {
    "S": "text",
    "N": "7",
    "BOOL": True,
    "SS": ["text"],
    "L": [{"S": "text"}],
    "M": {"key": {"N": "7"}},
}
"""A value of each type, as DynamoDB has it."""

TEXTS = (
    Job(chatroom_id=ROOM, seq=1, generation="ab", again=1, plan=Plan.PRO),
    TitleJob(user_id="u_" + "a" * 26, chatroom_id=ROOM, seq=1),
    Line(edits=((1, 2),), gone=((3, 4),)),
    Reservation(
        day="2026-11-25",
        amount=1,
        price_in=1,
        price_out=1,
        shard=0,
        cap=1,
        plan=Plan.PRO,
        unproven="ab",
    ),
)
"""One value of each struct that is stored as JSON; no field has its default."""


def models() -> dict[str, type[Table]]:
    """Return the model of every table by its name."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    return {model.__name__: model for model in Table.__subclasses__()}


def types(model: type[Table]) -> dict[str, Types]:
    """Return the types of a table's `required` and `optional` attributes."""
    found: dict[str, Types] = {"optional": {}, "required": {}}
    for one in model.get_attributes().values():
        is_optional = one.null or one.default is not None
        found["optional" if is_optional else "required"][one.attr_name] = one.attr_type
    return found


def item(types: Types) -> dict[str, dict[str, Any]]:
    """Return an item with these attributes, as DynamoDB has it."""
    return {name: {kind: VALUES[kind]} for name, kind in types.items()}


def texts() -> dict[str, Any]:
    """Return the parsed JSON of each value in TEXTS, by its struct's name."""
    return {type(text).__name__: json.loads(msgspec.json.encode(text)) for text in TEXTS}


def main() -> None:
    """Write the forms of this release."""
    tables = {name: types(model) for name, model in models().items()}
    forms = {"tables": tables, "texts": texts()}
    FILE.write_text(json.dumps(forms, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
