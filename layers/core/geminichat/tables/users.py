"""The users table: one item an account."""

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute

from geminichat.config import setting
from geminichat.tables.connection import Table


class User(Table):
    """An account; `session_epoch` ends every session that began under an earlier one."""

    class Meta:
        table_name = setting("USERS_TABLE")

    user_id = UnicodeAttribute(hash_key=True)
    email = UnicodeAttribute(null=True)
    email_verified = BooleanAttribute(default=False)
    mobile = UnicodeAttribute(null=True)
    mobile_verified = BooleanAttribute(default=False)
    password_hash = UnicodeAttribute(null=True)
    session_epoch = NumberAttribute(default=0)
    created_at = UnicodeAttribute()


def find(user_id: str) -> User | None:
    """Return the user, or None."""
    try:
        return User.get(user_id, consistent_read=True)
    except User.DoesNotExist:
        return None
