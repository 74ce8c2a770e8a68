"""Items of other releases, as in a gradual deployment, in a rollback or after a restore.

stored_forms.json has the items of the previous release: the required attributes, and all of them.
"""

import json
from typing import Any

import msgspec
import pytest
from pynamodb.attributes import UnicodeAttribute

from geminichat.tables.table import Table
from tests.support import stored_forms
from tests.support.stored_forms import FILE, RawItem, minimal, models, texts, whole

BEFORE = json.loads(FILE.read_text())
ITEMS: dict[str, tuple[RawItem, RawItem]] = BEFORE["items"]
MODELS = models()


def missing(model: type[Table], item: RawItem) -> list[str]:
    """Return the attributes that a model must have and an item lacks, or has in another type."""
    return [
        attribute.attr_name
        for attribute in model.get_attributes().values()
        if (attribute.attr_name not in item and not attribute.null and attribute.default is None)
        or (attribute.attr_name in item and attribute.attr_type not in item[attribute.attr_name])
    ]


@pytest.mark.parametrize("table", sorted(MODELS))
def test_items_of_the_previous_release_are_read(table: str) -> None:
    for item in ITEMS.get(table, ()):
        assert missing(MODELS[table], item) == [], "give it null=True or a default"
        read = MODELS[table].from_raw_data(json.loads(json.dumps(item)))
        known = {one.attr_name for one in MODELS[table].get_attributes().values()}
        again = read.serialize()
        assert {name: again[name] for name in item if name in known} == {
            name: value for name, value in item.items() if name in known
        }


@pytest.mark.parametrize("table", sorted(ITEMS))
def test_the_previous_release_reads_the_items_of_this_one(table: str) -> None:
    assert table in MODELS, "the previous release still reads this table"
    must_have, may_have = ITEMS[table]
    new = minimal(MODELS[table])
    assert {name: new.get(name) for name in must_have} == must_have, "remove it a release later"
    whole_new = whole(MODELS[table])
    assert {name: whole_new[name] for name in may_have if name in whole_new} == {
        name: value for name, value in may_have.items() if name in whole_new
    }, "a new type needs a new name"


@pytest.mark.parametrize("table", sorted(MODELS))
def test_an_attribute_of_a_later_release_is_ignored(table: str) -> None:
    item = whole(MODELS[table]) | {"of_a_later_release": {"S": "text"}}
    read = MODELS[table].from_raw_data(item)
    assert read.serialize() == whole(MODELS[table])


@pytest.mark.parametrize("struct", [type(text) for text in stored_forms.TEXTS])
def test_json_of_the_previous_and_of_a_later_release_is_read(struct: type[Any]) -> None:
    before = BEFORE["texts"][struct.__name__]
    needed = [one.encode_name for one in msgspec.structs.fields(struct) if one.required]
    least = {name: before[name] for name in needed}
    for text in (before, least, before | {"ofALaterRelease": 1}):
        msgspec.json.decode(json.dumps(text), type=struct)
    assert texts()[struct.__name__].keys() >= before.keys(), "remove it a release later"


def test_an_attribute_without_default_that_old_items_lack_is_found() -> None:
    class Later(Table):
        user_id = UnicodeAttribute(hash_key=True)
        added = UnicodeAttribute()
        allowed = UnicodeAttribute(null=True)

    assert missing(Later, {"user_id": {"S": "u"}}) == ["added"]
    assert missing(Later, {"user_id": {"N": "1"}, "added": {"S": "x"}}) == ["user_id"]
