"""Shared by all commands: their error, and the lookup of a function's name."""

from collections.abc import Mapping


class CommandError(Exception):
    """An expected failure; the message says in a line or two what happened and what to do."""

    def __init__(self, message: str, code: str = "failed") -> None:
        """Store the message for people and the error's code for programs."""
        super().__init__(message)
        self.code = code


def get_function_name(logical_id: str, functions: Mapping[str, str]) -> str:
    """Return a function's name by its logical id. Raises CommandError for an unknown id."""
    if logical_id not in functions:
        known = ", ".join(sorted(functions))
        raise CommandError(f"There is no function {logical_id}. The functions are: {known}")
    return functions[logical_id]
