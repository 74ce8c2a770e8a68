"""Send notices to an account's identities after a change of its ways to log in."""

from collections.abc import Iterable
from datetime import datetime

from geminichat import metrics
from geminichat.clients import notifications
from geminichat.domain import limits
from geminichat.domain.identities import Identity
from geminichat.errors import AppError, DeliveryFailed, InvalidRequest, Unavailable
from geminichat.operations import one_time_codes
from geminichat.runtime import deadlines, log
from geminichat.tables import limits as limits_table
from geminichat.tables.table import ConditionsFailed, batch_get, transact

SUBJECT = "Your Gemini Chat account"
PER_DAY = 10
"""Notices per identity and day, so that no user exhausts the stage's limit of SMS."""
WITHIN = 6.0
"""Seconds for all notices of a request, since its function ends after ten."""


def send(user_id: str, identities: Iterable[Identity], text: str, now: datetime) -> None:
    """Send a notice of a stored change to each identity.

    A failure is logged and raises an alarm; it does not change the request's answer.
    """
    with deadlines.within(WITHIN):
        for identity in identities:
            try:
                _send(identity, text, now)
            except InvalidRequest as error:  # for example, its owner has refused texts
                log.warning("notice refused", user_id=user_id, reason=error.detail)
            except AppError as error:
                metrics.emit(NoticesFailed=1)
                log.error("notice not sent", user_id=user_id, by=identity.kind, reason=error.detail)


def _send(identity: Identity, text: str, now: datetime) -> None:
    """Count a notice and send it, unless the identity has reached its limit of the day."""
    own = limits.window("notices", identity.digest, PER_DAY, limits.DAY, now)
    windows = [own, *one_time_codes.list_text_windows(identity, now)]
    counters = batch_get(*map(limits_table.key_of, windows))
    windows = limits_table.add_counts(windows, counters, now)
    if not windows[0].left:
        log.warning("notice left out", by=identity.kind)
        return
    one_time_codes.require_capacity(windows, now)
    try:
        transact(*(limits_table.count_event(window, now) for window in windows))
    except ConditionsFailed as error:
        raise Unavailable() from error
    one_time_codes.report_texts(windows)
    try:
        notifications.send(identity, SUBJECT, text)
    except DeliveryFailed:  # a notice that arrives twice is better than none
        notifications.send(identity, SUBJECT, text)
