"""PynamoDB on our own AWS client: one connection for all models, and table names read at first use.

PynamoDB gives each model a connection, and so a TLS handshake, of its own, and makes it with
botocore's client. Here all models share one connection on `aws_client.Client`.
"""

import logging
from collections.abc import Callable
from threading import Lock
from typing import Any, ClassVar

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004

from geminichat.runtime import aws_client, trimmed_imports

# PynamoDB reports at every cold start that it has found no file of settings.
logging.getLogger("pynamodb.settings").setLevel(logging.WARNING)

with trimmed_imports.trim_pynamodb():
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
"""Error codes by which DynamoDB says that the fault is not the request's."""


class SharedConnection(Connection):
    """PynamoDB's connection on a client of ours; safe to use from threads.

    Raises the error that `unavailable` makes where DynamoDB does not answer or is overloaded; a
    write may have taken effect then.
    """

    def __init__(self, client: aws_client.Client, unavailable: Callable[[], Exception]) -> None:
        """Keep the client; nothing is sent before the first call."""
        super().__init__()
        self._aws_client = client
        self._unavailable = unavailable
        self._tables_lock = Lock()

    @property
    def client(self) -> Any:
        return self._aws_client

    def dispatch(self, operation_name: str, operation_kwargs: dict[str, Any]) -> Any:
        # PynamoDB's own asks for the capacity used, to log it, and sends signals about each call.
        return self._make_api_call(operation_name, operation_kwargs)

    def _make_api_call(self, operation_name: str, operation_kwargs: dict[str, Any]) -> Any:
        try:
            return super()._make_api_call(operation_name, operation_kwargs)
        except (ConnectionError, HTTPClientError) as error:
            raise self._unavailable() from error
        except ClientError as error:
            if error.response["Error"]["Code"] in OUTAGES:
                raise self._unavailable() from error
            raise

    def call(self, operation: str, request: dict[str, Any]) -> Any:
        """Return DynamoDB's answer to an operation as its API has it, such as "BatchGetItem"."""
        return self._make_api_call(operation, request)

    def attach(self, table: TableConnection) -> TableConnection:
        """Return the table's connection, which uses this one from now on."""
        with self._tables_lock:
            if table.table_name not in self._tables:
                self.add_meta_table(table.get_meta_table())
            table.connection = self
            return table


class SharedModel(Model):
    """A base class for models that share a connection.

    A model's `Meta.setting` names the setting that holds its table's name. It is read at the
    model's first use: no model reads the environment when its module is imported.
    """

    shared: ClassVar[SharedConnection]

    @staticmethod
    def read_setting(name: str) -> str:
        """Return the value of a setting."""
        raise NotImplementedError

    @classmethod
    def _get_connection(cls) -> TableConnection:
        if cls._connection is None:
            cls.Meta.table_name = cls.read_setting(cls.Meta.setting)  # type: ignore[attr-defined]
            cls._connection = cls.shared.attach(super()._get_connection())
        return cls._connection

    @classmethod
    def table_name(cls) -> str:
        """Return the table's name."""
        return str(cls._get_connection().table_name)

    @classmethod
    def item_key(cls, hash_key: Any, range_key: Any = None) -> dict[str, Any]:
        """Return a key as DynamoDB's API has it, such as `{"user_id": {"S": "u_1"}}`."""
        serialized = cls._serialize_keys(hash_key, range_key)
        identifier = cls.shared.get_identifier_map(cls.table_name(), *serialized)
        return dict(identifier["Key"])

    def key_values(self) -> tuple[Any, Any]:
        """Return the item's hash key and its range key, None where the table has none."""
        hash_key, range_key = self._hash_keyname, self._range_keyname
        return getattr(self, str(hash_key)), getattr(self, range_key) if range_key else None
