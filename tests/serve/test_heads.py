from __future__ import annotations

from penstock.serve.listeners.heads import MOST, Heads

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
HEADERS = {b"host": b"a", b"content-length": b"3"}


def test_the_same_bytes_mean_the_same_again() -> None:
    heads = Heads()
    assert heads.find(HEAD + b"abc") is None
    heads.keep(HEAD + b"abc", "POST", "/x", HEADERS)
    found = heads.find(HEAD + b"xyz")
    assert found is not None
    assert (found.method, found.path, found.raw, found.headers) == ("POST", "/x", HEAD, HEADERS)


def test_only_exactly_one_request_is_taken() -> None:
    heads = Heads()
    heads.keep(HEAD + b"abc", "POST", "/x", HEADERS)
    for data in (HEAD + b"ab", HEAD + b"abcd", HEAD + b"abc" + HEAD + b"abc", HEAD[:-1], b"", b"\r\n" + HEAD + b"abc"):
        assert heads.find(data) is None


def test_special_heads_are_never_kept() -> None:
    heads = Heads()
    for name in (b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"connection"):
        heads.keep(HEAD + b"abc", "POST", "/x", {**HEADERS, name: b"x"})
    heads.keep(HEAD + b"abcd", "POST", "/x", HEADERS)
    heads.keep(HEAD + b"abc", "POST", "/x", {b"content-length": b"+3"})
    assert heads.find(HEAD + b"abc") is None


def test_many_heads_cost_no_memory() -> None:
    heads = Heads()
    for number in range(3 * MOST):
        heads.keep(b"GET /%d HTTP/1.1\r\n\r\n" % number, "GET", f"/{number}", {})
    assert len(heads._known) <= MOST
