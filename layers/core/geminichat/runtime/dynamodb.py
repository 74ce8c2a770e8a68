"""PynamoDB on `aws_client`: one connection for all models, table names read at first use.

By default, each PynamoDB model has its own connection, with its own TLS handshake.
"""

import functools
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004

from geminichat.runtime import aws_client, trimmed_imports

# PynamoDB logs at every cold start that it found no settings file.
logging.getLogger("pynamodb.settings").setLevel(logging.WARNING)

with trimmed_imports.trim_pynamodb():
    from pynamodb.attributes import Attribute
    from pynamodb.connection.base import Connection
    from pynamodb.connection.table import TableConnection
    from pynamodb.models import Model
    from pynamodb.transactions import TransactWrite

__all__ = ["SharedConnection", "SharedModel", "TransactWrite"]

OUTAGES = {
    "InternalServerError",
    "ServiceUnavailable",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
}
"""Error codes that mean a failure of DynamoDB, not an invalid request."""


class SharedConnection(Connection):
    """A PynamoDB connection that uses our AWS client; safe to use from threads.

    If DynamoDB is overloaded or does not answer, a call raises the error that `unavailable`
    returns. Even then, a write may have taken effect.
    """

    def __init__(self, client: aws_client.Client, unavailable: Callable[[], Exception]) -> None:
        """Keep the client; nothing is sent before the first call."""
        super().__init__()
        self._aws_client = client
        self._unavailable = unavailable

    @property
    def client(self) -> Any:
        return self._aws_client

    def dispatch(self, operation_name: str, operation_kwargs: dict[str, Any]) -> Any:
        # By default, PynamoDB requests the consumed capacity, but only logs it.
        operation_kwargs.setdefault("ReturnConsumedCapacity", "NONE")
        try:
            return super().dispatch(operation_name, operation_kwargs)
        except (ConnectionError, HTTPClientError) as error:
            raise self._unavailable() from error
        except ClientError as error:
            if error.response["Error"]["Code"] in OUTAGES:
                raise self._unavailable() from error
            raise

    def attach(self, table: TableConnection) -> TableConnection:
        """Make `table` use this connection, and return `table`."""
        if table.connection is not self:
            with suppress(ValueError):  # another thread has added the table
                self.add_meta_table(table.get_meta_table())
            table.connection = self
        return table


class SharedModel(Model):
    """A base class for models that share a connection.

    `Meta.setting` names the setting that holds the table's name. The setting is read at the model's
    first use: no model reads the environment when its module is imported.
    """

    shared: ClassVar[SharedConnection]

    @staticmethod
    def read_setting(name: str) -> str:
        """Return the value of a setting."""
        raise NotImplementedError

    @classmethod
    def _get_connection(cls) -> TableConnection:
        meta: Any = cls.Meta
        if not hasattr(meta, "table_name"):
            meta.table_name = cls.read_setting(meta.setting)
        return cls.shared.attach(super()._get_connection())

    @classmethod
    def table_name(cls) -> str:
        return str(cls._get_connection().table_name)

    @classmethod
    def item_key(cls, hash_key: Any, range_key: Any = None) -> dict[str, Any]:
        """Return a key as DynamoDB's API has it, such as `{"user_id": {"S": "u_1"}}`."""
        values = (hash_key, range_key)
        return {
            attribute.attr_name: {attribute.attr_type: attribute.serialize(value)}
            for (_, attribute), value in zip(cls._key_attributes(), values, strict=False)
        }

    def key_values(self) -> tuple[Any, Any]:
        """Return the item's hash key and range key; the range key is None if the table has none."""
        hash_key, range_key, *_ = [
            *(getattr(self, name) for name, _ in self._key_attributes()),
            None,
        ]
        return hash_key, range_key

    @classmethod
    @functools.cache
    def _key_attributes(cls) -> list[tuple[str, Attribute[Any]]]:
        """Return the name and attribute of the hash key, then of the range key if there is one."""
        attributes = cls.get_attributes().items()
        hash_key = [item for item in attributes if item[1].is_hash_key]
        return hash_key + [item for item in attributes if item[1].is_range_key]
