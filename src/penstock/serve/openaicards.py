"""Stage 4, serve: an endpoint as OpenAI lists a model, for every dialect whose list of models is also OpenAI's.

Comes in: a card. Goes out: ``{"id", "object", "created", "owned_by"}``; when it was made, what serves it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.serve.cards import Card


def listed(card: Card) -> dict[str, object]:
    """One model."""
    return {"id": card.name, "object": "model", "created": 0, "owned_by": "penstock"}


def model_list(cards: Iterable[Card]) -> dict[str, object]:
    """All of them."""
    return {"object": "list", "data": [listed(card) for card in cards]}
