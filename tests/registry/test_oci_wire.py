"""What a registry may not do to us: bytes that do not hold, bodies without end, silence, redirects, lost secrets."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from oci_for_tests import SmallHandler, SmallRegistry, digest_of
from penstock.errors import BadConfig, Forbidden, InvalidInput, NotFound, NotReady, PenstockError, Untrusted
from penstock.registry import oci_wire
from penstock.registry.oci import MAX_MANIFEST_BYTES, OciRepository, blob_of_bytes
from penstock.registry.oci_login import OciLogin, find_login, read_challenge
from penstock.registry.oci_reference import parse_reference
from penstock.registry.oci_wire import OciWire, is_local

DATA = b"the model" * 1000
DIGEST = digest_of(DATA)
LOGIN, NOBODY = OciLogin("rita", "of-the-test"), OciLogin()


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with SmallRegistry() as small:
        small.put(DATA)
        yield small


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_wire, "_MAX_WAIT_S", 0.01)


def repository(
    place: str, folder: Path, *, login: OciLogin = NOBODY, patience_s: float = 10.0, chunk_bytes: int = 1000
) -> OciRepository:
    wire = OciWire(parse_reference(f"oci://{place}/r"), login, scope="pull,push", patience_s=patience_s)
    return OciRepository(wire, begun=folder / "begun", chunk_bytes=chunk_bytes)


def on(method: str, part: str, then: Callable[[SmallHandler], bool]) -> Callable[[SmallHandler], bool]:
    return lambda handler: handler.command == method and part in handler.path and then(handler)


def endless(handler: SmallHandler) -> bool:
    handler.answer(200, Transfer_Encoding="chunked")
    while True:
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def dribble(handler: SmallHandler) -> bool:
    handler.answer(200, Content_Length=str(len(DATA)))
    while True:
        handler.wfile.write(b"t")
        time.sleep(0.05)


def cut(handler: SmallHandler) -> bool:
    handler.answer(200, DATA[:100], Content_Length=str(len(DATA)))
    handler.close_connection = True
    return True


BAD_BODIES: dict[str, tuple[Callable[[SmallHandler], bool], type[PenstockError]]] = {
    "another": (lambda handler: handler.answer(200, DATA[::-1]), Untrusted),
    "longer": (lambda handler: handler.answer(200, DATA + b"!"), Untrusted),
    "shorter": (lambda handler: handler.answer(200, DATA[:-1]), Untrusted),
    "empty": (lambda handler: handler.answer(200), Untrusted),
    "endless": (endless, Untrusted),
    "cut": (cut, NotReady),
    "missing": (lambda handler: handler.answer(404), NotFound),
    "failing": (lambda handler: handler.answer(500, b"<html>oops</html>"), NotReady),
    "teapot": (lambda handler: handler.answer(418, b'{"errors": 7}'), InvalidInput),
}


@pytest.mark.parametrize("what", BAD_BODIES)
def test_bytes_that_do_not_hold_are_refused(registry: SmallRegistry, tmp_path: Path, what: str) -> None:
    then, kind = BAD_BODIES[what]
    registry.before = on("GET", "/blobs/", then)
    with pytest.raises(kind) as caught:
        repository(registry.place, tmp_path).get_blob(DIGEST, len(DATA), tmp_path / "file")
    assert "oops" not in str(caught.value)
    assert os.path.getsize(tmp_path / "file") <= len(DATA)


def test_one_that_dribbles_is_cut(registry: SmallRegistry, tmp_path: Path) -> None:
    registry.before = on("GET", "/blobs/", dribble)
    before = time.monotonic()
    with pytest.raises(NotReady):
        repository(registry.place, tmp_path, patience_s=0.5).get_blob(DIGEST, len(DATA), tmp_path / "file")
    assert 1.0 < time.monotonic() - before < 20


def test_one_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(NotReady):
            repository(place, tmp_path, patience_s=0.3).has_blob(DIGEST)
    with pytest.raises(NotReady):
        repository(place, tmp_path, patience_s=0.3).has_blob(DIGEST)


def test_one_that_speaks_another_protocol_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def speak() -> None:
            while True:
                try:
                    line, _ = listening.accept()
                except OSError:
                    return
                with line:
                    line.sendall(b"220 mail.example ESMTP\r\n" * 1000)

        threading.Thread(target=speak, daemon=True).start()
        with pytest.raises(NotReady):
            repository(f"127.0.0.1:{listening.getsockname()[1]}", tmp_path).get_manifest("1")
        listening.shutdown(socket.SHUT_RDWR)


def test_a_manifest_has_an_end_and_its_digest(registry: SmallRegistry, tmp_path: Path) -> None:
    there = repository(registry.place, tmp_path)
    registry.before = on("GET", "/manifests/", endless)
    with pytest.raises(Untrusted, match="longer than"):
        there.get_manifest("1")
    registry.before = on("GET", "/manifests/", lambda handler: handler.answer(200, b"{}"))
    with pytest.raises(Untrusted, match="not what its digest says"):
        there.get_manifest(DIGEST)
    registry.before = on("GET", "/", lambda handler: handler.answer(200, b"{}", Docker_Content_Digest=DIGEST))
    with pytest.raises(Untrusted, match="not what its digest says"):
        there.get_manifest("1")
    assert len(DATA) < MAX_MANIFEST_BYTES


def test_a_break_on_the_way_goes_on_in_place(registry: SmallRegistry, tmp_path: Path) -> None:
    def once(handler: SmallHandler) -> bool:
        said = handler.headers.get("range")
        if said is None:
            return cut(handler)
        start = int(said.removeprefix("bytes=").removesuffix("-"))
        assert start == 100
        return handler.answer(206, DATA[start:])

    registry.before = on("GET", "/blobs/", once)
    repository(registry.place, tmp_path).get_blob(DIGEST, len(DATA), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_moment_of_failure_is_waited_out(registry: SmallRegistry, tmp_path: Path) -> None:
    left = iter([503, 429])
    registry.before = on(
        "HEAD", "/blobs/", lambda handler: any(handler.answer(status) for status in [next(left, 0)] if status)
    )
    assert repository(registry.place, tmp_path).has_blob(DIGEST)
    assert len(registry.asked) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_without_the_secret(registry: SmallRegistry, tmp_path: Path, status: int) -> None:
    with SmallRegistry() as other:
        other.put(DATA)

        def send_on(handler: SmallHandler) -> bool:
            if "authorization" not in handler.headers:
                return handler.answer(401, WWW_Authenticate='Basic realm="r"')
            return handler.answer(status, Location=f"http://{other.place}/store/blobs/{DIGEST}?key=1")

        registry.before = on("GET", "/v2/r/blobs/", send_on)
        repository(registry.place, tmp_path, login=LOGIN).get_blob(DIGEST, len(DATA), tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == DATA
        assert registry.asked[-1].headers["authorization"] == LOGIN.basic
        assert [one.path for one in other.asked] == [f"/store/blobs/{DIGEST}?key=1"]
        assert "authorization" not in other.asked[0].headers


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/blob",
        "ftp://127.0.0.1/blob",
        "file:///etc/passwd",
        "http://user:secret@127.0.0.1/blob",
        "http://127.0.0.1:99999/blob",
        "http://127.0.0.1/a b",
    ],
)
def test_a_redirect_to_nowhere_good_is_refused(registry: SmallRegistry, tmp_path: Path, location: str) -> None:
    registry.before = on("GET", "/blobs/", lambda handler: handler.answer(307, Location=location))
    with pytest.raises(Untrusted):
        repository(registry.place, tmp_path).get_blob(DIGEST, len(DATA), tmp_path / "file")


def test_redirects_have_an_end_and_writes_have_none(registry: SmallRegistry, tmp_path: Path) -> None:
    registry.before = on("GET", "/", lambda handler: handler.answer(307, Location=handler.path))
    with pytest.raises(Untrusted, match="without end"):
        repository(registry.place, tmp_path).get_manifest("1")
    registry.before = on("POST", "/", lambda handler: handler.answer(307, Location="/v2/else/blobs/uploads/"))
    with pytest.raises(InvalidInput, match="status 307"):
        repository(registry.place, tmp_path).put_blob(blob_of_bytes(b"new"))


def test_one_out_in_the_world_does_not_send_us_inside(
    registry: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = OciWire(parse_reference(f"oci://{registry.place}/r"), OciLogin(), scope="pull")
    home = wire._place(wire.base)
    wire._check_address(home, "8.8.8.8")
    for address in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "::1", "fe80::1%eth0", "fd00::1"):
        with pytest.raises(Untrusted, match="our own network"):
            wire._check_address(home._replace(host="cdn.example"), address)
    wire._check_address(home._replace(host="cdn.example"), "1.1.1.1")
    wire._check_address(home, "10.0.0.1")
    wire._check_address(home._replace(host="store.internal"), "10.0.0.2")


def test_plain_http_is_for_this_machine(tmp_path: Path) -> None:
    far = parse_reference("oci://registry.example/r")
    assert OciWire(far, OciLogin(), scope="pull").base == "https://registry.example:443/v2/r/"
    assert OciWire(far, OciLogin(), scope="pull", plain_http=True).base == "http://registry.example:80/v2/r/"
    near = [parse_reference(f"oci://{host}:5000/r") for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]")]
    assert all(OciWire(one, OciLogin(), scope="pull").base.startswith("http://") for one in near)
    assert not any(is_local(host) for host in ("localhost.example", "127.0.0.1.example", "10.0.0.1", "0.0.0.0"))


def test_tls_is_spoken_to_whom_its_authority_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    # The only machine that a test has is this one, to which TLS would not be spoken.
    monkeypatch.setattr(oci_wire, "is_local", lambda host: False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with SmallRegistry(tls=context) as small:
        small.put(DATA)
        place = small.place.replace("127.0.0.1", "localhost")
        with pytest.raises(BadConfig, match="SSL_CERT_FILE"):
            repository(place, tmp_path).has_blob(DIGEST)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        repository(place, tmp_path).get_blob(DIGEST, len(DATA), tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == DATA
        with pytest.raises(BadConfig, match="SSL_CERT_FILE"):
            repository(small.place, tmp_path).has_blob(DIGEST)
        small.before = on("HEAD", "/", lambda handler: handler.answer(307, Location=f"http://{place}/else"))
        with pytest.raises(Untrusted, match="without TLS"):
            repository(place, tmp_path).has_blob(DIGEST)
        small.before = on("GET", "/", dribble)
        with pytest.raises(NotReady):
            repository(place, tmp_path, patience_s=1.0).get_blob(DIGEST, len(DATA), tmp_path / "slow")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``localhost``'s own, in PEM, its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    place = tmp_path_factory.mktemp("tls") / "cert.pem"
    place.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    place.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return place


def tokens(registry: SmallRegistry, *, good: str = "t0k", realm: str = "") -> None:
    """Asks for a bearer token, and gives one to who knows the password."""

    def guard(handler: SmallHandler) -> bool:
        if handler.path.startswith("/token"):
            if handler.headers.get("authorization") != LOGIN.basic:
                return handler.answer(401)
            return handler.answer(200, json.dumps({"token": good}).encode())
        if handler.headers.get("authorization") == f"Bearer {good}":
            return False
        where = realm or f"http://{registry.place}/token"
        return handler.answer(401, WWW_Authenticate=f'Bearer realm="{where}",service="small",scope="repository:r:pull"')

    registry.before = guard


def test_a_token_is_asked_for_once(registry: SmallRegistry, tmp_path: Path) -> None:
    tokens(registry)
    there = repository(registry.place, tmp_path, login=LOGIN)
    assert there.put_blob(blob_of_bytes(b"new" * 1000))
    assert there.has_blob(DIGEST)
    asked = [one.path for one in registry.asked if one.path.startswith("/token")]
    assert asked == ["/token?service=small&scope=repository%3Ar%3Apull"]
    seen = {one.headers.get("authorization", "") for one in registry.asked if not one.path.startswith("/token")}
    assert seen == {"", "Bearer t0k"}, "the password goes to the realm alone"


def test_a_token_that_ran_out_is_replaced(registry: SmallRegistry, tmp_path: Path) -> None:
    tokens(registry)
    there = repository(registry.place, tmp_path, login=LOGIN)
    assert there.has_blob(DIGEST)
    tokens(registry, good="newer")
    assert there.has_blob(DIGEST)


@pytest.mark.parametrize("login", [OciLogin(), OciLogin("rita", "wrong")])
def test_who_is_not_known_is_told_what_to_do(registry: SmallRegistry, tmp_path: Path, login: OciLogin) -> None:
    tokens(registry)
    with pytest.raises(Forbidden, match="PENSTOCK_OCI_USER"):
        repository(registry.place, tmp_path, login=login).has_blob(DIGEST)
    registry.before = lambda handler: handler.answer(401, WWW_Authenticate='Basic realm="r"')
    with pytest.raises(Forbidden, match="PENSTOCK_OCI_USER"):
        repository(registry.place, tmp_path, login=login).has_blob(DIGEST)
    registry.before = lambda handler: handler.answer(403)
    with pytest.raises(Forbidden, match="does not let us"):
        repository(registry.place, tmp_path, login=login).has_blob(DIGEST)


@pytest.mark.parametrize(
    ("realm", "kind"),
    [
        ("http://example.com/token", Untrusted),
        ("file:///etc/passwd", Untrusted),
        ("/token", Untrusted),
    ],
)
def test_a_password_goes_to_no_bad_realm(
    registry: SmallRegistry, tmp_path: Path, realm: str, kind: type[PenstockError]
) -> None:
    tokens(registry, realm=realm)
    with pytest.raises(kind):
        repository(registry.place, tmp_path, login=LOGIN).has_blob(DIGEST)
    assert all("authorization" not in one.headers for one in registry.asked)


@pytest.mark.parametrize("body", [b"{}", b"nonsense", b'{"token": "a\\r\\nX: y"}', b'{"token": 7}', b"x" * (2 << 20)])
def test_a_token_that_is_none_is_refused(registry: SmallRegistry, tmp_path: Path, body: bytes) -> None:
    tokens(registry)
    guard = registry.before
    registry.before = lambda handler: handler.answer(200, body) if handler.path.startswith("/token") else guard(handler)
    with pytest.raises(Untrusted):
        repository(registry.place, tmp_path, login=LOGIN).has_blob(DIGEST)


def test_pieces_that_arrived_are_not_sent_again(registry: SmallRegistry, tmp_path: Path) -> None:
    data = os.urandom(10_500)
    sent: list[int] = []
    broken: list[bool] = []

    def watch(handler: SmallHandler) -> bool:
        sent.append(int(handler.headers["content-length"]))
        if len(sent) == 4 and not broken:
            broken.append(True)
            # Half of it is kept, and the line breaks before anybody is told.
            registry.uploads["0"] += handler.rfile.read(500)
            handler.close_connection = True
            return True
        return False

    registry.before = on("PATCH", "/uploads/", watch)
    assert repository(registry.place, tmp_path).put_blob(blob_of_bytes(data))
    assert registry.blobs[digest_of(data)] == data
    assert registry.methods("uploads").count("POST") == 1
    assert sum(sent) == len(data) + 500, "the other half of the piece that broke, and nothing twice"


def test_an_upload_that_the_registry_forgot_begins_anew(registry: SmallRegistry, tmp_path: Path) -> None:
    def forget(handler: SmallHandler) -> bool:
        if len(registry.methods("uploads")) == 5:
            registry.uploads.clear()
            registry.uploads["other"] = b""
        return False

    registry.before = on("PATCH", "/uploads/", forget)
    data = os.urandom(9_000)
    assert repository(registry.place, tmp_path).put_blob(blob_of_bytes(data))
    assert registry.blobs[digest_of(data)] == data
    assert registry.methods("uploads").count("POST") == 2


def test_an_empty_file_goes_over(registry: SmallRegistry, tmp_path: Path) -> None:
    there = repository(registry.place, tmp_path)
    assert there.put_blob(blob_of_bytes(b""))
    there.get_blob(digest_of(b""), 0, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b""


def test_logins_are_found(tmp_path: Path) -> None:
    near, hub = parse_reference("oci://127.0.0.1:5000/r"), parse_reference("oci://docker.io/library/r")
    auth = base64.b64encode(b"dora:p:w").decode()
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {"127.0.0.1:5000": {"auth": auth}, "https://index.docker.io/v1/": {"auth": auth}}, "x": 1})
    )
    kept = {"DOCKER_CONFIG": str(tmp_path)}
    assert find_login(near, kept) == find_login(hub, kept) == OciLogin("dora", "p:w")
    assert find_login(parse_reference("oci://127.0.0.1:5001/r"), kept) == OciLogin()
    given = {"PENSTOCK_OCI_USER": "rita", "PENSTOCK_OCI_PASSWORD": "of-the-test"}
    assert find_login(near, kept | given) == LOGIN
    assert "of-the-test" not in repr(LOGIN)
    assert find_login(near, {}) == find_login(near, {"HOME": str(tmp_path / "none")}) == OciLogin()
    with pytest.raises(BadConfig, match="PENSTOCK_OCI_PASSWORD"):
        find_login(near, {"PENSTOCK_OCI_USER": "rita"})
    for text in ("{", '{"auths": {"127.0.0.1:5000": {"auth": "%%%"}}}', '{"auths": []}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(BadConfig):
            find_login(near, kept)


def test_challenges_are_read() -> None:
    found = read_challenge('Bearer realm="https://a/t?x=1",service="s",scope="repository:r:pull,push"')
    assert found is not None
    assert found.url("else") == "https://a/t?x=1&service=s&scope=repository%3Ar%3Apull%2Cpush"
    assert read_challenge("basic") == read_challenge('Basic realm="x"')
    assert [read_challenge(text) for text in ("", "Negotiate", "Bearer", 'Bearer service="x"')] == [None] * 4
