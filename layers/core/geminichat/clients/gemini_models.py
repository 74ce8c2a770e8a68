"""The models that Google serves to a key, read by google-generativeai."""

import os
import warnings

TIMEOUT = 20.0
"""Seconds for each page of the list."""


def list_served(key: str) -> set[str]:
    """Return the ids of the models that answer prompts. Raises Google's errors."""
    with warnings.catch_warnings():  # the package warns that its support has ended
        warnings.simplefilter("ignore", FutureWarning)
        import google.generativeai as genai
        from google.generativeai.types import RequestOptions

    endpoint = os.environ.get("GEMINI_ENDPOINT")
    options = {"api_endpoint": endpoint} if endpoint else None
    genai.configure(api_key=key, transport="rest", client_options=options)
    listed = genai.list_models(
        page_size=1000, request_options=RequestOptions(timeout=TIMEOUT, retry=None)
    )
    return {
        model.name.removeprefix("models/")
        for model in listed
        if "generateContent" in model.supported_generation_methods
    }
