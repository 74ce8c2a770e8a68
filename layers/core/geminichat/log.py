"""Structured logs: one JSON line an event, ids only; never content, codes, tokens or passwords."""

from aws_lambda_powertools.logging import Logger

logger = Logger(service="geminichat")
