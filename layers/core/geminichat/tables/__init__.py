"""The tables. PynamoDB is imported here, before any of them, without botocore's client.

Its connection makes one of its own; ours is `geminichat.aws` (see `connection`).
"""

import logging

from botocore.exceptions import ClientError

from geminichat import lean

# It says at every cold start that it has found no file of settings.
logging.getLogger("pynamodb.settings").setLevel(logging.WARNING)

with lean.without(
    {
        "botocore.client": {"ClientError": ClientError},
        "botocore.config": {},
        "calendar": {},
        "botocore.session": {"Session": object, "get_session": None},
        "pynamodb.connection._botocore_private": {"BotocoreBaseClientPrivate": object},
    }
):
    import pynamodb.connection.base  # noqa: F401
