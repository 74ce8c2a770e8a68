"""Check the choice of a model: the catalogue must have it, and the user's plan must include it."""

from datetime import datetime

from msgspec import UnsetType

from geminichat import config
from geminichat.domain.plans import Plan
from geminichat.domain.sessions import Claims
from geminichat.errors import InvalidRequest, ModelNotIncluded
from geminichat.tables import subscriptions


def require(caller: Claims, name: str | UnsetType | None, now: datetime) -> None:
    """Require that the user may choose the model. Raises InvalidRequest, ModelNotIncluded.

    The plan is read only if some plan does not include the model. That read raises Unauthorized if
    the session has ended.
    """
    if not isinstance(name, str):
        return
    catalogue, today = config.catalogue(), now.date()
    if catalogue.find(name) is None:
        raise InvalidRequest.at({"/model": "Expected a model or an alias that GET /models lists"})
    if all(catalogue.is_open_to(name, plan, today) for plan in Plan):
        return
    if not catalogue.is_open_to(name, subscriptions.read_plan(caller, now), today):
        raise ModelNotIncluded()
