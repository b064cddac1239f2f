"""A document that somebody else rendered may style itself and nothing more."""

from __future__ import annotations

from penstock.web.documents import document


def test_it_is_sandboxed() -> None:
    answer = document(b"<script>alert(1)</script>")
    policy = answer.headers["content-security-policy"]
    assert policy.endswith("sandbox")
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
