from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.records import Manifest, Variant
from penstock.serve.models import Model
from penstock.serve.router import choose, lay_out, pinned, position
from penstock.tensors import Signature


class NoLane:
    def submit(self, job: object, limit: int) -> None: ...
    def depth(self) -> int:
        return 0

    def close(self) -> None: ...


MANIFEST = Manifest(
    format=1, name="m", kind="onnx", engine="onnxruntime", entry="m", task="regression",
    signature=Signature(inputs=(), outputs=()), files={},
)  # fmt: skip
MODELS = {name: Model(name, MANIFEST, NoLane()) for name in "abc"}


def variants(*shares: float) -> list[Variant]:
    return [
        Variant(name=f"v{i}", model="m", version=i, digest="abc"[i % 3], share=share) for i, share in enumerate(shares)
    ]


@given(st.text(), st.text())
def test_a_key_has_one_place_in_the_unit_interval(salt: str, key: str) -> None:
    assert 0 <= position(salt, key) < 1
    assert position(salt, key) == position(salt, key)


def test_the_place_is_the_one_that_is_written_down() -> None:
    """First 8 bytes of BLAKE2b over salt, NUL, key: whoever replays assignments elsewhere relies on it."""
    assert position("salt", "N12345") == 0.903954096793181
    assert position("a", "bc") != position("ab", "c")


@given(st.floats(0.01, 0.5), st.floats(0.01, 0.49))
def test_raising_the_canarys_share_only_adds_keys_to_it(share: float, more: float) -> None:
    before = lay_out(variants(share, 1 - share), MODELS)
    after = lay_out(variants(share + more, 1 - share - more), MODELS)
    for number in range(100):
        was, now = choose(before, "s", str(number)), choose(after, "s", str(number))
        if was.variant.name == "v0":
            assert now.variant.name == "v0"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4).filter(lambda shares: sum(shares) > 0.1), st.text())
def test_somebody_always_answers(shares: list[float], key: str) -> None:
    total = sum(shares)
    arms = lay_out(variants(*(share / total for share in shares)), MODELS)
    assert choose(arms, "s", key) in arms


def test_shares_are_kept() -> None:
    arms = lay_out(variants(0.1, 0.9), MODELS)
    hits = sum(choose(arms, "salt", f"key-{number}").variant.name == "v0" for number in range(20_000))
    assert 1850 < hits < 2150


def test_a_version_can_be_named() -> None:
    arms = lay_out(variants(0.0, 1.0), MODELS)
    assert pinned(arms, "0").variant.name == "v0"
