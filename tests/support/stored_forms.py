"""Items of every table, and texts within them and in queues, as a release stores them.

`python -m tests.support.stored_forms` writes those of this release to stored_forms.json. Run it
when a release is tagged: the next ones are compared with it.
"""

import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from geminichat import tables
from geminichat.clients.prompt_queue import Job
from geminichat.clients.title_queue import TitleJob
from geminichat.domain.lines import Line
from geminichat.domain.plans import Plan
from geminichat.domain.spending import Reservation
from geminichat.tables.table import Table

FILE = Path(__file__).with_suffix(".json")
ROOM = "r_" + "a" * 26

type RawItem = dict[str, dict[str, Any]]

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
"""A value of each struct that is stored as JSON, without any default."""


def models() -> dict[str, type[Table]]:
    """Return the model of every table by its name."""
    for module in pkgutil.walk_packages(tables.__path__, f"{tables.__name__}."):
        importlib.import_module(module.name)
    return {model.__name__: model for model in Table.__subclasses__()}


def minimal(model: type[Table]) -> RawItem:
    """Return an item with the required attributes only."""
    return {
        attribute.attr_name: {attribute.attr_type: VALUES[attribute.attr_type]}
        for attribute in model.get_attributes().values()
        if not attribute.null and attribute.default is None
    }


def whole(model: type[Table]) -> RawItem:
    """Return an item that has every attribute."""
    return {
        attribute.attr_name: {attribute.attr_type: VALUES[attribute.attr_type]}
        for attribute in model.get_attributes().values()
    }


def texts() -> dict[str, Any]:
    """Return the JSON of each struct's value."""
    return {type(text).__name__: json.loads(msgspec.json.encode(text)) for text in TEXTS}


def main() -> None:
    """Write the forms of this release."""
    items = {name: [minimal(model), whole(model)] for name, model in sorted(models().items())}
    FILE.write_text(json.dumps({"items": items, "texts": texts()}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
