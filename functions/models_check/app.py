"""Schedule cron(41 5 * * ? *): compare the catalogue of models with Google's list.

Each concern is logged, and their number is a metric with an alarm (RUNBOOK.md, models).
"""

from typing import Any

from geminichat import config, metrics, startup  # noqa: F401
from geminichat.clients import gemini_sdk
from geminichat.runtime import clock, log


def handler(_event: dict[str, Any], _context: Any) -> dict[str, list[str]]:
    """Return the concerns: a sentence per change that the operator should make."""
    try:
        served = gemini_sdk.list_served(config.secret("GEMINI_KEY_PARAMETER"))
    except Exception as error:
        log.exception("models not listed", error=type(error).__name__)
        concerns = ["Google's list of models could not be read."]
    else:
        concerns = config.catalogue().concerns(served, clock.now().date())
    for concern in concerns:
        log.warning("model concern", concern=concern)
    metrics.emit(ModelConcerns=len(concerns))
    return {"concerns": concerns}
