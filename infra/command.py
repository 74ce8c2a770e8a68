"""CommandError, and the look-up of a function for commands."""

from collections.abc import Mapping


class CommandError(Exception):
    """An expected failure; its message says in a line or two what happened and what to do."""

    def __init__(self, message: str, code: str = "failed") -> None:
        """Store the message for people and the error's code for programs."""
        super().__init__(message)
        self.code = code


def function_named(logical_id: str, functions: Mapping[str, str]) -> str:
    """Return the name of a function. Raises CommandError that lists the logical ids."""
    if logical_id not in functions:
        known = ", ".join(sorted(functions))
        raise CommandError(f"There is no function {logical_id}. The functions are: {known}")
    return functions[logical_id]
