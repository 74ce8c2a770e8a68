"""Spending: the most that a prompt can cost, and the shards of a stage's spending."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat import config
from geminichat.domain import spending
from geminichat.domain.messages import TokenUsage
from geminichat.domain.models import Choice
from geminichat.domain.money import MILLION, price
from geminichat.domain.spending import Reservation, StageCap

MODEL = config.catalogue().default()
CHOICE = Choice(MODEL, 1_000)
ONE_SHARD = StageCap(MILLION)


def reserve(
    *,
    seq: int = 1,
    texts: tuple[str, ...] = ("",),
    history: int = 60_000,
    stage: StageCap = ONE_SHARD,
) -> Reservation:
    return spending.reserve(
        choice=CHOICE,
        day="2026-11-23",
        chatroom_id="r_1",
        seq=seq,
        texts=list(texts),
        history_characters=history,
        cap=500_000,
        stage_cap=stage,
    )


def test_a_rooms_first_prompt_reserves_the_price_of_its_texts_and_a_full_reply() -> None:
    reservation = reserve(texts=("x" * 100, "y" * 50))
    assert reservation.amount == MODEL.cost(75, 1_000)


@pytest.mark.parametrize(("seq", "history"), [(3, 20_000), (5, 40_000), (7, 60_000), (99, 60_000)])
def test_a_later_prompt_reserves_the_price_of_its_history_too(seq: int, history: int) -> None:
    amount = MODEL.cost(history, 1_000)
    assert reserve(seq=seq).amount == amount
    assert reserve(seq=seq, history=0).amount == reserve().amount


@given(st.text(max_size=200), st.integers(0, 1_000))
def test_an_answer_within_the_estimate_never_costs_more_than_the_reservation(
    text: str, output: int
) -> None:
    reservation = reserve(texts=(text,))
    tokens = TokenUsage(input_tokens=spending.estimate_tokens(text), output_tokens=output)
    assert reservation.cost(tokens) <= reservation.amount


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**8), st.integers(0, 10**8))
def test_a_price_is_rounded_up_to_the_micro_dollar(
    tokens_in: int, tokens_out: int, price_in: int, price_out: int
) -> None:
    exact = tokens_in * price_in + tokens_out * price_out
    assert 0 <= price(tokens_in, tokens_out, price_in, price_out) * MILLION - exact < MILLION


@pytest.mark.parametrize(
    ("dollars", "shards"), [(0.01, 1), (9.99, 1), (10, 2), (79, 15), (80, 16), (10_000, 16)]
)
def test_a_stages_spending_is_spread_over_shards_of_at_least_five_dollars(
    dollars: float, shards: int
) -> None:
    cap = StageCap(round(dollars * MILLION))
    assert cap.shards == shards
    assert cap.per_shard * cap.shards <= cap.amount < (cap.per_shard + 1) * cap.shards


def test_a_rooms_prompts_are_spread_over_all_shards() -> None:
    stage = StageCap(100 * MILLION)
    found = {reserve(seq=seq, stage=stage).shard for seq in range(1, 400, 2)}
    assert found == set(range(16))
