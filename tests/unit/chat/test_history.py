"""How much of a room's past goes along with a prompt."""

from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain.history import PastTurn, bounded


def turn(number: int, length: int = 4) -> PastTurn:
    """Return a turn of so many characters, both of its texts together."""
    return PastTurn(prompt=str(number), reply="x" * (length - len(str(number))))


TURNS = [turn(number) for number in range(5)]


def test_all_of_it_goes_along_where_it_fits_exactly() -> None:
    assert bounded(TURNS, 20) == TURNS


def test_one_character_too_many_costs_the_oldest_turn() -> None:
    assert bounded(TURNS, 19) == TURNS[1:]


def test_a_latest_turn_that_is_too_long_leaves_nothing() -> None:
    assert bounded([*TURNS, turn(6, 101)], 100) == []
    assert bounded(TURNS, 0) == []
    assert bounded([], 100) == []


def test_a_turn_that_is_too_long_hides_what_came_before_it() -> None:
    assert bounded([turn(0), turn(1, 90), turn(2)], 20) == [turn(2)]


TEXTS = st.text(max_size=20)


@given(
    st.lists(st.builds(PastTurn, prompt=TEXTS, reply=TEXTS), max_size=20),
    st.integers(0, 200),
)
def test_what_goes_along_is_the_end_of_it_as_long_as_may_be(
    turns: list[PastTurn], characters: int
) -> None:
    kept = bounded(turns, characters)

    def size(some: list[PastTurn]) -> int:
        return sum(len(one.prompt) + len(one.reply) for one in some)

    assert kept == turns[len(turns) - len(kept) :]
    assert size(kept) <= characters
    assert len(kept) == len(turns) or size(turns[-len(kept) - 1 :]) > characters
