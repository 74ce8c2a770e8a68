"""End every session of a user, for example after a report of a stolen device: `make end-sessions`.

The user is named by id, email or mobile number. Every access and refresh token of the user is
refused from then on; the password stays.
"""

import sys

from infra.command import CommandError
from infra.stages import stage as stages
from infra.stages.command import command, parser


@command
def main(arguments: list[str]) -> None:
    """End the user's sessions and print how many there were."""
    known = parser("end-sessions", __doc__, local=True)
    known.add_argument("user", help="the user's id, email or mobile number")
    options = known.parse_args(arguments)
    stage = stages.connect(options.stage, options.data_folder)
    stages.set_environment(stage)
    print(end_sessions(options.user))


def end_sessions(named: str) -> str:
    """End every session of a user, and return a sentence about it. Raises CommandError."""
    from geminichat.domain import times
    from geminichat.domain.identities import email, mobile
    from geminichat.tables import identities, users

    user_id = named
    if not named.startswith("u_"):
        try:
            identity = email(named) if "@" in named else mobile(named)
        except ValueError as error:
            raise CommandError(f"{named}: {error}.") from error
        record = identities.find(identity, times.now())
        if record is None:
            raise CommandError(f"No user has the identity {named}.")
        user_id = record.user_id
    user = users.find(user_id)
    if user is None or not users.end_sessions(user_id, times.now()):
        raise CommandError(f"There is no user {user_id}.")
    return f"Ended {len(users.sessions_of(user))} sessions of {user_id}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
