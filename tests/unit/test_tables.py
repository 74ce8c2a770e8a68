"""Items as our tables read and write them: the same as PynamoDB's own way."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynamodb.attributes import (
    AttributeContainer,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
    VersionAttribute,
)
from pynamodb.exceptions import AttributeDeserializationError, AttributeNullError
from pynamodb.models import Model

from geminichat.tables import (  # noqa: F401  each makes its table known
    chatrooms,
    codes,
    idempotency_keys,
    identities,
    messages,
    sessions,
    stripe_events,
    subscriptions,
    usage,
    users,
)
from geminichat.tables.connection import Table
from geminichat.tables.messages import StoredMessage
from geminichat.tables.plain import PlainModel

TABLES = sorted(Table.__subclasses__(), key=lambda table: table.__name__)

NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)


class _Slow(Model):
    """Any table's attributes, with nothing but PynamoDB between them and DynamoDB."""


def _slow(table: type[Table]) -> type[Model]:
    attributes = {name: getattr(table, name) for name in table.get_attributes()}
    return type(table.__name__, (_Slow,), {**attributes, "Meta": table.Meta})


def _values(attribute: Any) -> st.SearchStrategy[Any]:
    if isinstance(attribute, ListAttribute):
        return st.lists(st.integers(0, 10**15))
    if isinstance(attribute, NumberAttribute):
        return NUMBERS
    return TEXTS if isinstance(attribute, UnicodeAttribute) else st.booleans()


@st.composite
def _attributes(draw: st.DrawFn, table: type[Table]) -> dict[str, Any]:
    """Draw values for all attributes of a table but some of those that may be missing."""
    return {
        name: draw(_values(attribute))
        for name, attribute in table.get_attributes().items()
        if not (attribute.null or attribute.default is not None) or draw(st.booleans())
    }


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
@given(data=st.data())
def test_an_item_is_written_and_read_as_pynamodb_does_it(
    table: type[Table], data: st.DataObject
) -> None:
    attributes = data.draw(_attributes(table))
    slow = _slow(table)

    written = table(**attributes).serialize()
    assert written == slow(**attributes).serialize()

    written["unknown"] = {"S": "of a later version"}
    read = table.from_raw_data(written)
    assert read.attribute_values == slow.from_raw_data(written).attribute_values
    assert read.attribute_values == table(**attributes).attribute_values
    again = table(**dict.fromkeys(attributes))  # type: ignore[arg-type]
    again.deserialize(written)
    assert again.attribute_values == read.attribute_values


def test_there_are_tables_to_try() -> None:
    assert len(TABLES) >= 10


@pytest.mark.parametrize(
    ("text", "number"), [("1.5", 1.5), ("1E+2", 100.0), ("-7", -7), ("0", 0), ("1e400", None)]
)
def test_a_number_is_read_however_dynamodb_writes_it(text: str, number: float | None) -> None:
    raw = {"chatroom_id": {"S": "r"}, "seq": {"N": text}}
    seq = _slow(StoredMessage).from_raw_data(raw).attribute_values["seq"]
    assert StoredMessage.from_raw_data(raw).seq == seq
    assert number is None or seq == number


def test_null_is_as_good_as_missing() -> None:
    raw = {"chatroom_id": {"S": "r"}, "seq": {"N": "1"}, "lease": {"NULL": True}}
    assert StoredMessage.from_raw_data(raw).lease is None


def test_an_attribute_of_another_type_is_named() -> None:
    raw = {"chatroom_id": {"S": "r"}, "seq": {"S": "1"}}
    with pytest.raises(AttributeDeserializationError, match="seq"):
        StoredMessage.from_raw_data(raw)


def test_what_must_be_there_is_asked_for_when_it_is_stored() -> None:
    with pytest.raises(AttributeNullError):
        StoredMessage("r", 1).serialize()
    assert StoredMessage("r", 1).serialize(null_check=False) == {
        "chatroom_id": {"S": "r"},
        "seq": {"N": "1"},
    }


def test_an_attribute_that_the_table_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="StoredMessage has no attribute titel"):
        StoredMessage("r", 1, titel="x")


@pytest.mark.parametrize(
    "attribute",
    [
        MapAttribute(),
        VersionAttribute(),
        UnicodeAttribute(default=str),
        UnicodeAttribute(default_for_new="x"),
    ],
    ids=["a map", "a version", "a computed default", "a default for new ones"],
)
def test_a_table_that_is_not_plain_is_told_so(attribute: Any) -> None:
    class Odd(PlainModel):
        class Meta:
            table_name = "odd"

        key = UnicodeAttribute(hash_key=True)
        odd = attribute

    with pytest.raises(TypeError, match=r"Odd\.odd is more than a plain attribute"):
        Odd("k")


def test_pynamodb_still_reads_and_writes_where_we_take_its_place() -> None:
    for name in ("_container_serialize", "_container_deserialize", "_instantiate"):
        assert name in vars(AttributeContainer)
