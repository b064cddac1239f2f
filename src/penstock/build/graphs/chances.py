"""What several steps behind a model do with its probabilities in a graph."""

from __future__ import annotations

from penstock.build.graphs.writer import GraphWriter
from penstock.runtime.transform import MILLION


def ranked(graph: GraphWriter, chances: str) -> str:
    """Whole millionths of doubles: see `penstock.runtime.transform.millionths`."""
    return graph.add("Round", graph.add("Mul", chances, graph.number(MILLION)))


def column_of(graph: GraphWriter, chances: str, place: int) -> str:
    """One class's, ``(rows, 1)``."""
    return graph.add("Gather", chances, graph.whole(place), axis=1)
