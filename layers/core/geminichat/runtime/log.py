"""Structured logs: one JSON line an event, ids only; never content, codes, tokens or passwords."""

import os

from geminichat.runtime import trimmed_imports

with trimmed_imports.without(
    {
        "aws_lambda_powertools.metrics": {"Metrics": None, "single_metric": None},
        # It tells botocore's client, which we do without.
        "aws_lambda_powertools.shared.user_agent": {"inject_user_agent": lambda: None},
        "aws_lambda_powertools.tracing": {"Tracer": None},
        "aws_lambda_powertools.utilities.jmespath_utils": {},
    }
):
    from aws_lambda_powertools.logging import Logger

logger = Logger(service="geminichat", function_name=os.environ.get("AWS_LAMBDA_FUNCTION_NAME", ""))
"""All functions share one log group, so each line names its function."""
