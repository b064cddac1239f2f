"""A reference is read back as it was written, and nothing else passes for one."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.registry.oci_reference import OciReference, parse_reference

DIGEST = "sha256:" + "0" * 64
part = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
hosts = st.one_of(
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,10}[A-Za-z0-9])?(\.[A-Za-z0-9]{1,10}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
references = st.builds(
    OciReference,
    host=hosts,
    port=st.integers(0, 65535),
    repository=st.lists(part, min_size=1, max_size=4).map("/".join),
    tag=st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)),
    digest=st.sampled_from(["", DIGEST]),
)


@given(references)
def test_what_is_written_is_read_back(reference: OciReference) -> None:
    assert parse_reference(str(reference)) == reference


@given(st.text(max_size=60) | st.from_regex(r"[a-z0-9.:/@\[\]%?#\\ _-]{0,60}", fullmatch=True))
@example("h/../r:1")
@example("h/r\r\nX: y")
@example("u:p@h/r")
@example("h/r?x=1")
@example("h:0/r")
@example("h:٣/r")
@example("h/r:1\n")
def test_what_passes_stays_one_path_on_one_host(text: str) -> None:
    try:
        found = parse_reference(f"oci://{text}")
    except InvalidInput:
        return
    assert parse_reference(str(found)) == found
    parts = urlsplit(f"https://{found.registry}/v2/{found.repository}/manifests/{found.pinned}")
    assert (parts.hostname, parts.query, parts.fragment, parts.username) == (found.host.lower(), "", "", None)
    assert ".." not in parts.path.split("/")
    assert str(found).isascii()
    assert str(found).isprintable()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("registry.example/churn:1", "scheme"),
        ("docker://registry.example/churn", "scheme"),
        ("oci://registry.example", "repository"),
        ("oci://registry.example/Churn", "repository"),
        ("oci://registry.example/a//b", "repository"),
        ("oci://registry.example/a/../b", "repository"),
        (f"oci://registry.example/{'a' * 256}", "repository"),
        ("oci:///churn", "host"),
        ("oci://user:secret@registry.example/churn", "port"),
        ("oci://-a/churn", "host"),
        ("oci://[::g]/churn", "host"),
        ("oci://h:65536/churn", "port"),
        ("oci://h:/churn", "port"),
        ("oci://h/churn:", "tag"),
        ("oci://h/churn:.a", "tag"),
        ("oci://h/churn@sha256:12", "digest"),
        (f"oci://h/churn@{DIGEST.upper()}", "digest"),
        ("oci://h/churn@", "digest"),
    ],
)
def test_a_refusal_names_the_part(text: str, where: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_reference(text)
    assert caught.value.where == where
    assert "secret" not in str(caught.value)


def test_parts() -> None:
    found = parse_reference(f"oci://[::1]:5000/team/churn:v1@{DIGEST}")
    assert found == OciReference("::1", 5000, "team/churn", "v1", DIGEST)
    assert (found.registry, found.pinned) == ("[::1]:5000", DIGEST)
    assert parse_reference("oci://h/r").pinned == "latest"
