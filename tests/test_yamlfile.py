"""A YAML file that a person wrote: plain data, or an error with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import BadConfig
from penstock.yamlfile import parse_yaml, read_yaml, require_known


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("a: 1\nb: {c: 1,\n  c: 2}", "f.yaml, line 3", "twice"),
        ("a: [", "f.yaml, line 1", "YAML"),
        ("a: 2024-13-45", "f.yaml", "YAML"),
        ("? [a]\n: 1", "f.yaml, line 1", "YAML"),
        ("a: !!python/object/apply:os.system [id]", "f.yaml, line 1", "YAML"),
        ("[" * 5000, "f.yaml", "YAML"),
        (b"\xff", "f.yaml", "YAML"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text: str | bytes, where: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        parse_yaml(text, "f.yaml")
    assert caught.value.where == where
    assert said in caught.value.message


def test_a_file_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    """Cut off it could be another file that can be read."""
    file = tmp_path / "f.yaml"
    file.write_text("a: 1\nb: 2\n")
    assert read_yaml(file, "the file", "mend it", most_bytes=10) == {"a": 1, "b": 2}
    with pytest.raises(BadConfig, match="too long"):
        read_yaml(file, "the file", "mend it", most_bytes=9)
    with pytest.raises(BadConfig, match="the file cannot be read"):
        read_yaml(tmp_path / "gone.yaml", "the file", "mend it")
    with pytest.raises(BadConfig, match="the file cannot be read"):
        read_yaml(tmp_path, "the file", "mend it")


def test_who_mistypes_a_key_hears_which_was_meant() -> None:
    require_known("f", ["low"], ("low", "high"))
    with pytest.raises(BadConfig) as caught:
        require_known("f", ["lowe"], ("low", "high"))
    assert "did you mean low?" in caught.value.hint
