"""The part of a room's past that is sent with a prompt."""

from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain.history import CUT, LEAST, PastTurn, select_turns


def turn(number: int, length: int = 4) -> PastTurn:
    """Return a turn; its prompt and its reply together have `length` characters."""
    return PastTurn(prompt=str(number), reply="x" * (length - len(str(number))))


TURNS = [turn(number) for number in range(5)]


def test_a_history_that_fits_exactly_is_sent_whole() -> None:
    assert select_turns(TURNS, 20) == TURNS


def test_the_oldest_turn_is_dropped_if_the_history_is_one_character_too_long() -> None:
    assert select_turns(TURNS, 19) == TURNS[1:]


def test_a_turn_is_dropped_if_too_few_characters_are_left_for_its_end() -> None:
    assert select_turns([turn(0, 30), turn(1)], 4 + LEAST - 1) == [turn(1)]
    assert len(select_turns([turn(0, 30), turn(1)], 4 + LEAST)) == 2


def test_a_latest_turn_that_is_too_long_is_cut_at_its_beginning() -> None:
    [cut] = select_turns([PastTurn("continue", "x" * 100 + "the end")], 40)
    assert cut == PastTurn("continue", CUT + "x" * 21 + "the end")


def test_earlier_short_turns_are_sent_with_the_end_of_a_long_turn() -> None:
    ada, long = turn(0), PastTurn("Write a long text.", "a" * 60_000 + "b" * 12_800)
    first, cut = select_turns([ada, long], 60_000)
    assert first == ada
    assert cut.reply.startswith(CUT + "a")
    assert cut.reply.endswith("b" * 12_800)
    assert len(cut.prompt) + len(cut.reply) == 60_000 - 4


def test_the_latest_turn_gets_at_least_half_of_the_characters() -> None:
    earlier = [turn(number, 10) for number in range(9)]
    *whole, cut = select_turns([*earlier, PastTurn("p", "y" * 500)], 100)
    assert whole == earlier[-5:]
    assert cut.reply.startswith(CUT)
    assert len(cut.prompt) + len(cut.reply) == 50


def test_a_long_earlier_turn_is_cut_without_displacing_later_turns() -> None:
    long = PastTurn("p", "z" * 90)
    assert select_turns([turn(0), long, turn(2)], 60) == [
        turn(0),
        PastTurn("p", CUT + "z" * (60 - 8 - 1 - len(CUT))),
        turn(2),
    ]


def test_a_long_prompt_is_cut_like_a_long_reply() -> None:
    [cut] = select_turns([PastTurn("p" * 100, "r" * 100)], 60)
    assert (len(cut.prompt), len(cut.reply)) == (30, 30)
    [cut] = select_turns([PastTurn("p" * 100, "ok")], 60)
    assert (len(cut.prompt), cut.reply) == (58, "ok")


def test_with_a_limit_of_zero_characters_no_turn_is_sent() -> None:
    assert select_turns(TURNS, 0) == []
    assert select_turns([], 100) == []


TEXTS = st.text(min_size=1, max_size=40)


@given(
    st.lists(st.builds(PastTurn, prompt=TEXTS, reply=TEXTS), min_size=1, max_size=20),
    st.integers(0, 200),
)
def test_the_sent_turns_are_in_order_and_within_the_limit_and_include_the_latest(
    turns: list[PastTurn], characters: int
) -> None:
    kept = select_turns(turns, characters)
    assert sum(len(one.prompt) + len(one.reply) for one in kept) <= characters
    assert all(one.prompt and one.reply for one in kept)

    def is_end(of: PastTurn, shown: PastTurn) -> bool:
        return all(
            whole == part or (part.startswith(CUT) and whole.endswith(part[len(CUT) :]))
            for whole, part in ((of.prompt, shown.prompt), (of.reply, shown.reply))
        )

    left = iter(turns)
    assert all(any(is_end(turn, shown) for turn in left) for shown in kept)
    if characters >= 2 * LEAST:
        assert is_end(turns[-1], kept[-1])
