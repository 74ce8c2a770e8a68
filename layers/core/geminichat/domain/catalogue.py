"""The catalogue of Gemini models: their names, prices, plans and replacements.

`models.Catalogue` reads this data. The template's parameter ModelsPatch changes the catalogue
without a deployment of code (DECISIONS.md).
"""

from collections.abc import Mapping
from typing import Any

LEVELS = ["minimal", "low", "medium", "high"]

SHIPPED: Mapping[str, Any] = {
    "aliases": {
        "fast": "gemini-3.5-flash-lite",  # the default of new rooms: every plan must include it
        "best": "gemini-3.8-flash",
    },
    # The most output tokens of a reply, thinking included; this limits its length and price.
    "plans": {
        "basic": {"maxOutputTokens": 8_192},
        "pro": {"maxOutputTokens": 32_768},
    },
    # input, output   US dollars per million tokens; thinking counts as output. These are examples:
    #                 check them against https://ai.google.dev/gemini-api/docs/pricing
    # thinking        the levels that the model has; without levels, the model decides
    # plans           the plans that may choose the model; no room can choose a model without plans,
    #                 but a room that already names such a model gets its replacement
    # retires         the day from which Google no longer serves the model and its replacement
    #                 answers
    "models": {
        "gemini-3.5-flash-lite": {
            "name": "Gemini 3.5 Flash-Lite",
            "input": 0.30,
            "output": 2.50,
            "thinking": LEVELS,
            "plans": ["basic", "pro"],
        },
        # The regular prices of 3.6 to 3.8; Google charges half of them until the end of 2026.
        "gemini-3.6-flash": {
            "name": "Gemini 3.6 Flash",
            "input": 1.50,
            "output": 7.50,
            "thinking": LEVELS,
            "plans": ["basic", "pro"],
        },
        "gemini-3.7-flash": {
            "name": "Gemini 3.7 Flash",
            "input": 1.50,
            "output": 7.50,
            "thinking": LEVELS,
            "plans": ["pro"],
        },
        "gemini-3.8-flash": {
            "name": "Gemini 3.8 Flash",
            "input": 1.50,
            "output": 7.50,
            "thinking": ["low", "medium", "high"],
            "plans": ["pro"],
        },
        "gemini-2.5-flash-lite": {
            "name": "Gemini 2.5 Flash-Lite",
            "input": 0.10,
            "output": 0.40,
            "retires": "2026-12-01",
            "replacedBy": "gemini-3.5-flash-lite",
        },
        "gemini-2.5-flash": {
            "name": "Gemini 2.5 Flash",
            "input": 0.30,
            "output": 2.50,
            "retires": "2026-12-01",
            "replacedBy": "gemini-3.6-flash",
        },
        "gemini-2.5-pro": {
            "name": "Gemini 2.5 Pro",
            "input": 1.25,
            "output": 10.00,
            "retires": "2026-12-01",
            "replacedBy": "gemini-3.8-flash",
        },
    },
}
