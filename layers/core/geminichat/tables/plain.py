"""Items read and written in one go, where PynamoDB asks each attribute several times.

A page of twenty messages took most of its own time in PynamoDB's reading. Its `__init__`, its
`_container_serialize` and `_container_deserialize` serve maps, discriminators and defaults that are
computed; our tables have plain attributes alone, and do here the same with them in a loop.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from pynamodb.attributes import (
    Attribute,
    DiscriminatorAttribute,
    MapAttribute,
    NumberAttribute,
    VersionAttribute,
)
from pynamodb.exceptions import AttributeDeserializationError, AttributeNullError
from pynamodb.models import Model

NOT_PLAIN = (MapAttribute, DiscriminatorAttribute, VersionAttribute)


class _Field(NamedTuple):
    name: str
    stored: str
    kind: str
    """DynamoDB's name for its type, such as "S"."""
    may_be_null: bool
    read: Callable[[Any], Any] | None
    """None where a value stands as it came."""
    write: Callable[[Any], Any] | None


class _Shape(NamedTuple):
    fields: tuple[_Field, ...]
    names: frozenset[str]
    defaults: dict[str, Any]


class PlainModel(Model):
    """A PynamoDB model without maps, discriminator, version, or defaults that are computed.

    Raises TypeError, at its first item, for a model that has one of them.
    """

    _shape: _Shape | None = None

    def __init_subclass__(cls, **more: Any) -> None:
        """Let the subclass have a shape of its own."""
        super().__init_subclass__(**more)
        cls._shape = None

    def __init__(
        self,
        hash_key: Any = None,
        range_key: Any = None,
        _user_instantiated: bool = True,
        **attributes: Any,
    ) -> None:
        """Make an item with these attributes; raises ValueError for one that the model lacks."""
        shape = self._shape or self._shape_now()
        if hash_key is not None:
            attributes[str(self._hash_keyname)] = hash_key
        if range_key is not None:
            attributes[str(self._range_keyname)] = range_key
        if unknown := attributes.keys() - shape.names:
            raise ValueError(f"{type(self).__name__} has no attribute {', '.join(sorted(unknown))}")
        self.attribute_values = {**shape.defaults, **attributes}

    @classmethod
    def _instantiate(cls, attribute_values: dict[str, dict[str, Any]]) -> Self:
        item = cls.__new__(cls)
        item._container_deserialize(attribute_values)
        return item

    def _container_deserialize(self, attribute_values: dict[str, dict[str, Any]]) -> None:
        shape = self._shape or self._shape_now()
        self.attribute_values = values = shape.defaults.copy()
        for name, stored, kind, _, read, _ in shape.fields:
            given = attribute_values.get(stored)
            if given and "NULL" not in given:
                try:
                    value = given[kind]
                except KeyError:
                    raise AttributeDeserializationError(stored, kind) from None
                values[name] = value if read is None else read(value)

    def _container_serialize(self, null_check: bool = True) -> dict[str, dict[str, Any]]:
        shape = self._shape or self._shape_now()
        values, serialized = self.attribute_values, {}
        for name, stored, kind, may_be_null, _, write in shape.fields:
            value = values.get(name)
            if value is not None:
                serialized[stored] = {kind: value if write is None else write(value)}
            elif null_check and not may_be_null:
                raise AttributeNullError(name)
        return serialized

    @classmethod
    def _shape_now(cls) -> _Shape:
        attributes = cls.get_attributes()
        for name, attribute in attributes.items():
            computed = callable(attribute.default) or attribute.default_for_new is not None
            if computed or isinstance(attribute, NOT_PLAIN):
                raise TypeError(f"{cls.__name__}.{name} is more than a plain attribute.")
        defaults = {name: attribute.default for name, attribute in attributes.items()}
        shape = _Shape(
            tuple(_field(name, attribute) for name, attribute in attributes.items()),
            frozenset(attributes),
            {name: default for name, default in defaults.items() if default is not None},
        )
        cls._shape = shape
        return shape


def _field(name: str, attribute: Attribute[Any]) -> _Field:
    kind = type(attribute)
    read: Callable[[Any], Any] | None = attribute.deserialize
    write: Callable[[Any], Any] | None = attribute.serialize
    if kind is NumberAttribute:
        read, write = _number, _digits
    if kind.deserialize is Attribute.deserialize:
        read = None
    if kind.serialize is Attribute.serialize:
        write = None
    return _Field(name, attribute.attr_name, attribute.attr_type, attribute.null, read, write)


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        number: float = json.loads(text)
        return number


def _digits(number: float) -> str:
    return str(number) if type(number) is int else json.dumps(number)
