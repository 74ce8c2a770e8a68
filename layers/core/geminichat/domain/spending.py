"""Money: the highest possible cost of a prompt, and the reservation of this amount.

All amounts are whole micro-dollars. An amount is reserved when a prompt is stored and settled when
the prompt ends, both at the prices of the time when the prompt was sent.
"""

import binascii

import msgspec

from geminichat.domain.messages import CONTENT_LENGTH, TokenUsage
from geminichat.domain.models import Choice, Model
from geminichat.domain.money import MILLION, price
from geminichat.domain.plans import Plan

CHARACTERS_PER_TOKEN = 4
"""The average number of characters per token of a reply (Google's rule for English text)."""

SHARDS = 16
"""A stage's spending is counted in at most this many items, because one item allows few writes."""

SHARD_CAP = 5 * MILLION
"""Each item gets at least this part of the stage's cap; one prompt costs far less."""


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """The amount that is reserved for an unfinished prompt, with the day and the prices."""

    day: str
    amount: int
    price_in: int
    """Micro-dollars per million tokens."""
    price_out: int
    shard: int
    """The index of the shard in which the amount is reserved."""
    cap: int
    """The most that the user may spend on the day."""
    plan: Plan = Plan.BASIC
    """The user's plan, which decides the queue."""
    unproven: str = ""
    """A digest of the user's unproven identity; empty for a user with a proven identity."""

    def cost(self, tokens: TokenUsage) -> int:
        """Return the cost of tokens in micro-dollars, rounded up."""
        return price(tokens.input_tokens, tokens.output_tokens, self.price_in, self.price_out)


class StageCap(msgspec.Struct, frozen=True):
    """The limit on the daily spending of all users together; each shard has an equal part."""

    amount: int

    @property
    def shards(self) -> int:
        """The number of items in which the day's spending is counted."""
        return max(1, min(SHARDS, self.amount // SHARD_CAP))

    @property
    def per_shard(self) -> int:
        """The part of the cap for one item."""
        return self.amount // self.shards


def reserve(
    *,
    choice: Choice,
    day: str,
    chatroom_id: str,
    seq: int,
    texts: list[str],
    history_characters: int,
    cap: int,
    stage_cap: StageCap,
    plan: Plan = Plan.BASIC,
    unproven: str = "",
) -> Reservation:
    """Return a reservation of the highest possible cost of a prompt.

    `texts` are the prompt and the room's instruction. The history is not read: its length is
    estimated from `history_characters` and the number of earlier turns.
    """
    turn = CONTENT_LENGTH + CHARACTERS_PER_TOKEN * choice.max_output_tokens
    history = min(history_characters, seq // 2 * turn)
    input_tokens = sum(estimate_tokens(text) for text in texts) + history
    reservation = reserve_tokens(
        model=choice.model,
        day=day,
        prompt=f"{chatroom_id} {seq}",
        input_tokens=input_tokens,
        output_tokens=choice.max_output_tokens,
        cap=cap,
        stage_cap=stage_cap,
    )
    return msgspec.structs.replace(reservation, plan=plan, unproven=unproven)


def reserve_tokens(
    *,
    model: Model,
    day: str,
    prompt: str,
    input_tokens: int,
    output_tokens: int,
    cap: int,
    stage_cap: StageCap,
) -> Reservation:
    """Return a reservation of the tokens' price; `prompt` is an id that determines the shard."""
    return Reservation(
        day=day,
        amount=model.cost(input_tokens, output_tokens),
        price_in=model.price_in,
        price_out=model.price_out,
        shard=binascii.crc32(prompt.encode()) % stage_cap.shards,
        cap=cap,
    )


def without_amount(model: Model, day: str) -> Reservation:
    """Return a reservation of zero, with the day and the model's prices."""
    return Reservation(
        day=day, amount=0, price_in=model.price_in, price_out=model.price_out, shard=0, cap=0
    )


def estimate_tokens(text: str) -> int:
    """Return an upper estimate of a text's tokens: one for every two bytes of UTF-8.

    Gemini counts about four bytes of English text as a token, and two to three bytes of text in
    most other languages.
    """
    return -(-len(text.encode()) // 2)
