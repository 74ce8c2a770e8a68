"""GET /models: the models that a room may use."""

from geminichat import config
from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.models import ModelList
from geminichat.tables import subscriptions


@endpoint
def handler(request: Request) -> Response[ModelList]:
    """Answer 200 with the catalogue, and whether this user's plan includes each model."""
    plan = subscriptions.read_plan(request.caller, request.now)
    catalogue = config.catalogue()
    return ok(ModelList.of(catalogue, plan, request.now.date()), "Models found.")
