"""The part of a room's past that is sent with a prompt."""

from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain.history import PastTurn, select_latest


def turn(number: int, length: int = 4) -> PastTurn:
    """Return a turn whose two texts have `length` characters together."""
    return PastTurn(prompt=str(number), reply="x" * (length - len(str(number))))


TURNS = [turn(number) for number in range(5)]


def test_all_turns_are_selected_if_they_fit_exactly() -> None:
    assert select_latest(TURNS, 20) == TURNS


def test_the_oldest_turn_is_dropped_if_one_character_does_not_fit() -> None:
    assert select_latest(TURNS, 19) == TURNS[1:]


def test_nothing_is_selected_if_the_latest_turn_is_too_long() -> None:
    assert select_latest([*TURNS, turn(6, 101)], 100) == []
    assert select_latest(TURNS, 0) == []
    assert select_latest([], 100) == []


def test_turns_before_one_that_is_too_long_are_dropped() -> None:
    assert select_latest([turn(0), turn(1, 90), turn(2)], 20) == [turn(2)]


TEXTS = st.text(max_size=20)


@given(
    st.lists(st.builds(PastTurn, prompt=TEXTS, reply=TEXTS), max_size=20),
    st.integers(0, 200),
)
def test_the_longest_end_that_fits_is_selected(turns: list[PastTurn], characters: int) -> None:
    kept = select_latest(turns, characters)

    def size(some: list[PastTurn]) -> int:
        return sum(len(one.prompt) + len(one.reply) for one in some)

    assert kept == turns[len(turns) - len(kept) :]
    assert size(kept) <= characters
    assert len(kept) == len(turns) or size(turns[-len(kept) - 1 :]) > characters
