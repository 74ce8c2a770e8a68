"""The catalogue of models: their names, prices, plans and replacements."""

from collections.abc import Collection, Iterator, Mapping
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Self

import msgspec

from geminichat.domain.money import MILLION, price
from geminichat.domain.plans import Plan

DEFAULT = "fast"
"""The alias for rooms without a chosen model; the catalogue says which model it names."""

NOTICE = timedelta(days=30)
"""The daily check reports a model this long before it retires, if rooms may choose the model."""


class Thinking(StrEnum):
    """The amount of thinking before an answer, from least to most."""

    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @classmethod
    def read(cls, stored: str | None) -> Self | None:
        """Return a stored level, or None for an unknown level: the model then decides."""
        return cls(stored) if stored and stored in cls else None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One of Google's models; prices are in micro-dollars per million tokens."""

    id: str
    name: str
    price_in: int
    price_out: int
    max_output_tokens: int
    thinking: tuple[Thinking, ...]
    plans: frozenset[Plan]
    retires: date | None
    replaced_by: str | None

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """Return the cost in micro-dollars, rounded up; thinking counts as output."""
        return price(input_tokens, output_tokens, self.price_in, self.price_out)

    def is_retired(self, today: date) -> bool:
        """Return whether Google no longer serves the model."""
        return self.retires is not None and self.retires <= today

    def nearest_thinking(self, level: Thinking | None) -> Thinking | None:
        """Return `level` if the model has it, else the next higher level, else the highest.

        Without a level, and for a model without levels, return None: the model then decides.
        """
        if level is None or not self.thinking:
            return None
        order = list(Thinking)
        known = sorted(self.thinking, key=order.index)
        higher = [one for one in known if order.index(one) >= order.index(level)]
        return higher[0] if higher else known[-1]


class Choice(msgspec.Struct, frozen=True):
    """The model for a prompt, and the most output tokens of its reply, thinking included."""

    model: Model
    max_output_tokens: int


class Catalogue(msgspec.Struct, frozen=True):
    """The models by id, the aliases, and each plan's limit on a reply's output tokens."""

    models: Mapping[str, Model]
    aliases: Mapping[str, str]
    max_output_tokens: Mapping[Plan, int]

    @classmethod
    def read(cls, content: Mapping[str, Any], patch: Mapping[str, Any] | None = None) -> Self:
        """Return the catalogue in `catalogue.SHIPPED`, changed by a JSON Merge Patch (RFC 7396).

        Raises ValueError if the result is malformed or contradicts itself.
        """
        try:
            given = msgspec.convert(_merge(content, patch or {}), _File)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error
        catalogue = cls(
            models={name: entry.model(name) for name, entry in given.models.items()},
            aliases=given.aliases,
            max_output_tokens={
                plan: bound.max_output_tokens for plan, bound in given.plans.items()
            },
        )
        if problems := list(catalogue._problems()):
            raise ValueError("; ".join(problems))
        return catalogue

    def find(self, name: str) -> Model | None:
        """Return the model that an alias or an id names, or None."""
        return self.models.get(self.aliases.get(name, name))

    def default(self) -> Model:
        """Return the model of the default alias."""
        return self.models[self.aliases[DEFAULT]]

    def cheapest(self, today: date) -> Model:
        """Return the model with the lowest output price among those that every plan may choose.

        Return a retired model only if all these models are retired.
        """
        open_to_all = [one for one in self.models.values() if one.plans >= set(Plan)]
        serving = [one for one in open_to_all if not one.is_retired(today)]
        return min(serving or open_to_all, key=lambda one: (one.price_out, one.price_in, one.id))

    def replacement(self, model: Model) -> Model | None:
        """Return the model that replaces `model` after its retirement, or None."""
        return self.models[model.replaced_by] if model.replaced_by else None

    def is_open_to(self, name: str, plan: Plan, today: date) -> bool:
        """Return whether a room on this plan may name the model."""
        model = self.find(name)
        return model is not None and plan in self._plans_of(model, today)

    def choose(self, name: str, plan: Plan, today: date) -> Choice:
        """Return the model that answers in a room with the model or alias `name`.

        If the catalogue no longer has that model, or the plan does not include it, return the
        default model. If Google no longer serves the model, return its replacement.
        """
        model = self.find(name)
        if model is None or plan not in self._plans_of(model, today):
            model = self.default()
        model = self.choose_serving(model.id, today)
        return Choice(model, min(model.max_output_tokens, self.max_output_tokens[plan]))

    def choose_cheapest(self, today: date) -> Choice:
        """Return the cheapest model that every plan may use, with the basic plan's reply limit."""
        model = self.cheapest(today)
        return Choice(model, min(model.max_output_tokens, self.max_output_tokens[Plan.BASIC]))

    def choose_serving(self, model_id: str, today: date) -> Model:
        """Return the model `model_id`, or its replacement if Google no longer serves it."""
        model = self.find(model_id) or self.default()
        while model.is_retired(today) and (following := self.replacement(model)):
            model = following
        return model

    def concerns(self, served: Collection[str], today: date) -> list[str]:
        """Return the problems that an operator has to fix, one sentence each."""
        found = []
        for model in self.models.values():
            if model.plans and model.id not in served:
                found.append(
                    f"Rooms may choose {model.id}, which Google does not serve to this API key."
                )
            if model.plans and model.retires and model.retires - today <= NOTICE:
                found.append(f"Rooms may choose {model.id}, which retires on {model.retires}.")
            if not model.plans and not model.replaced_by:
                found.append(f"{model.id} cannot be chosen and has no replacement.")
        return found

    def _plans_of(self, model: Model, today: date) -> frozenset[Plan]:
        """Return the plans that may choose a model, or its replacement if the model is retired."""
        while not model.plans or model.is_retired(today):
            following = self.replacement(model)
            if following is None:
                break
            model = following
        return model.plans

    def _problems(self) -> Iterator[str]:
        for alias, name in self.aliases.items():
            if name not in self.models:
                yield f"the alias {alias} names {name}, which is not a model"
        for name in self.models:
            met = {name}
            following = self.models[name].replaced_by
            while following is not None:
                if following not in self.models or following in met:
                    yield f"{name} is replaced by {following}, which is unknown or leads back to it"
                    break
                met.add(following)
                following = self.models[following].replaced_by
        if not self.models.keys() >= {self.aliases.get(DEFAULT)}:
            yield f"there is no alias {DEFAULT}"
        elif self.default().plans != set(Plan):
            yield f"the model of the alias {DEFAULT} is not open to every plan"
        if self.max_output_tokens.keys() != set(Plan):
            yield "a plan has no maxOutputTokens"


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in US dollars per million tokens; output includes thinking."""

    input: float
    output: float


class ListedModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A model as the API shows it."""

    id: str
    name: str
    aliases: list[str]
    """Names that a room may use instead of the id; an alias can move to a newer model."""
    price: Price
    thinking: list[Thinking]
    """The thinking levels that a room may choose; empty if the model decides on its own."""
    max_output_tokens: int
    """The most tokens of a reply on the user's plan, thinking included."""
    available: bool
    """Whether the user's plan may choose the model."""
    retires: str | None
    """The day from which the replacement answers instead of the model."""
    replaced_by: str | None


class ModelList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The catalogue as the API shows it; `default` is the alias of rooms that name no model."""

    models: list[ListedModel]
    default: str

    @classmethod
    def of(cls, catalogue: Catalogue, plan: Plan, today: date) -> Self:
        listed = [
            ListedModel(
                id=model.id,
                name=model.name,
                aliases=[alias for alias, named in catalogue.aliases.items() if named == model.id],
                price=Price(input=model.price_in / MILLION, output=model.price_out / MILLION),
                thinking=list(model.thinking),
                max_output_tokens=min(model.max_output_tokens, catalogue.max_output_tokens[plan]),
                available=catalogue.is_open_to(model.id, plan, today),
                retires=model.retires.isoformat() if model.retires else None,
                replaced_by=model.replaced_by,
            )
            for model in catalogue.models.values()
        ]
        return cls(models=listed, default=DEFAULT)


class _Entry(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A model in catalogue.py; prices are in US dollars per million tokens."""

    name: str
    input: float
    output: float
    thinking: tuple[Thinking, ...] = ()
    plans: frozenset[Plan] = frozenset()
    max_output_tokens: int = 65_536
    retires: date | None = None
    replaced_by: str | None = None

    def model(self, model_id: str) -> Model:
        return Model(
            id=model_id,
            name=self.name,
            price_in=round(self.input * MILLION),
            price_out=round(self.output * MILLION),
            max_output_tokens=self.max_output_tokens,
            thinking=self.thinking,
            plans=self.plans,
            retires=self.retires,
            replaced_by=self.replaced_by,
        )


class _Bound(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    max_output_tokens: int


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    aliases: dict[str, str]
    plans: dict[Plan, _Bound]
    models: dict[str, _Entry]


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged
