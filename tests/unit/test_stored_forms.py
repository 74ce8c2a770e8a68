"""Items of other releases, as in a gradual deployment, in a rollback or after a restore.

stored_forms.json has the attributes of the previous release's items.
"""

import json
from typing import Any

import msgspec
import pytest
from pynamodb.attributes import UnicodeAttribute

from geminichat.tables.table import Table
from tests.support import stored_forms
from tests.support.stored_forms import FILE, Types, item, models, texts, types

BEFORE = json.loads(FILE.read_text())
TABLES: dict[str, dict[str, Types]] = BEFORE["tables"]
MODELS = models()


def find_missing(model: type[Table], stored: Types) -> list[str]:
    """Return an item's missing required attributes, and its attributes of the wrong type."""
    now = types(model)
    return [name for name in now["required"] if name not in stored] + [
        name
        for name, kind in (now["required"] | now["optional"]).items()
        if stored.get(name, kind) != kind
    ]


@pytest.mark.parametrize("table", sorted(TABLES.keys() & MODELS.keys()))
def test_items_of_the_previous_release_are_read(table: str) -> None:
    required, optional = TABLES[table]["required"], TABLES[table]["optional"]
    for stored in (required, required | optional):
        assert find_missing(MODELS[table], stored) == [], (
            "give the attribute null=True or a default"
        )
        read = MODELS[table].from_raw_data(json.loads(json.dumps(item(stored))))
        known = {one.attr_name for one in MODELS[table].get_attributes().values()}
        again = read.serialize()
        assert {name: again[name] for name in stored if name in known} == {
            name: value for name, value in item(stored).items() if name in known
        }


@pytest.mark.parametrize("table", sorted(TABLES))
def test_the_previous_release_reads_the_items_of_this_release(table: str) -> None:
    assert table in MODELS, "the previous release still reads this table"
    before, now = TABLES[table], types(MODELS[table])
    assert before["required"].items() <= now["required"].items(), "remove the attribute later"
    kinds = now["required"] | now["optional"]
    for name, kind in (before["required"] | before["optional"]).items():
        assert kinds.get(name, kind) == kind, f"{name}: a new type needs a new name"


@pytest.mark.parametrize("table", sorted(MODELS))
def test_an_attribute_of_a_later_release_is_ignored(table: str) -> None:
    now = types(MODELS[table])
    whole = item(now["required"] | now["optional"])
    read = MODELS[table].from_raw_data(whole | {"of_a_later_release": {"S": "text"}})
    assert read.serialize() == whole


@pytest.mark.parametrize("struct", [type(text) for text in stored_forms.TEXTS])
def test_json_of_the_previous_and_of_a_later_release_is_read(struct: type[Any]) -> None:
    before = BEFORE["texts"][struct.__name__]
    needed = [one.encode_name for one in msgspec.structs.fields(struct) if one.required]
    least = {name: before[name] for name in needed}
    for text in (before, least, before | {"ofALaterRelease": 1}):
        msgspec.json.decode(json.dumps(text), type=struct)
    assert texts()[struct.__name__].keys() >= before.keys(), "remove the field a release later"


def test_a_required_attribute_that_old_items_lack_is_found() -> None:
    class Later(Table):
        user_id = UnicodeAttribute(hash_key=True)
        added = UnicodeAttribute()
        allowed = UnicodeAttribute(null=True)

    assert find_missing(Later, {"user_id": "S"}) == ["added"]
    assert find_missing(Later, {"user_id": "N", "added": "S"}) == ["user_id"]
