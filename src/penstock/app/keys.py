"""Whose packages this home believes: rotate its key, trust another's, take one back, sign good packages anew.

act --rules--> event (key.added, key.revoked, key.removed, package.resigned) --> keys/trusted.pub, keys/revoked.json
the control loop writes both files again where who acted died before; every worker reads them at its next load
"""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from penstock.access.files import locked
from penstock.access.identities import require
from penstock.access.permissions import ADMIN, READ
from penstock.app.app import App
from penstock.build.sign import bundle_of
from penstock.errors import InvalidInput, NotFound, Untrusted
from penstock.packages.manifest import MANIFEST, SIGNATURE
from penstock.packages.publickey import load_public_key
from penstock.packages.read import open_package
from penstock.packages.signature import MAX_SIGNATURE_BYTES, claimed_signer
from penstock.packages.tree import read_bytes
from penstock.records import KeyRecord, KeyRemoved, KeyRevoked, Record, Resigned, Version
from penstock.registry.bootstrap import PACKAGES, rotate, write_trusted
from penstock.registry.state import State
from penstock.registry.trust import claims_trusted

SUBJECT = f"key/{PACKAGES}"
MIN_HINT = 8
"""Digits of a hint that name a key, where no other begins so."""


class KeyLine(Record, frozen=True, kw_only=True):
    """A key of a home.

    Attributes:
        standing: ``signs``, ``retired`` (of this home, before the one that signs), ``trusted`` (somebody else's) or
            ``revoked``.
        versions: Registered here under its signature, which is named and not proven in this list.
        endpoints: Where one of them answers.
    """

    hint: str
    standing: str
    reason: str = ""
    at: float = 0.0
    versions: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()


class KeyChange(Record, frozen=True, kw_only=True):
    """What an act on keys did, or would do.

    Attributes:
        key: As it stands after it.
        rotated: Hint of the key that took over, where it was the one that signed.
    """

    key: KeyLine
    rotated: str = ""


def list_keys(app: App) -> tuple[KeyLine, ...]:
    """Every key that is trusted or revoked, with what bears its signature."""
    require(app.identity, READ)
    state = app.state()
    hints = [one.hint for one in state.keys.get(PACKAGES, ())] + sorted(state.revoked)
    signed = _signed(app, state)
    return tuple(_line(state, hint, signed) for hint in hints)


def rotate_key(app: App, *, reason: str = "", dry_run: bool = False) -> KeyChange:
    """Have a new key sign what is packaged from now on; the old private key is gone then, its public one stays.

    Raises:
        Forbidden: Only an administrator may.
    """
    require(app.identity, ADMIN)
    home = app.registry.home
    before = app.state().signer(PACKAGES)
    if not dry_run:
        with locked(home.lock):
            rotate(home, app.registry, by=app.identity, reason=reason)
        write_trusted(home, app.registry)
    state = app.state()
    line = _line(state, before, _signed(app, state))
    return KeyChange(key=line, rotated="" if dry_run else state.signer(PACKAGES))


def trust_key(app: App, path: Path, *, reason: str = "", dry_run: bool = False) -> KeyChange:
    """Believe somebody else's packages from now on; a key that is trusted already changes nothing.

    Raises:
        Forbidden: Only an administrator may.
        Conflict: It was revoked.
        BadConfig: The file is no public key.
    """
    require(app.identity, ADMIN)
    record = KeyRecord(name=PACKAGES, pem=load_public_key(path).pem.decode("ascii"), reason=reason)
    if not dry_run:
        if not any(one.pem == record.pem for one in app.state().keys.get(PACKAGES, ())):
            app.registry.append("key.added", SUBJECT, record, by=app.identity)
        write_trusted(app.registry.home, app.registry)
    state = app.state()
    line = _line(state, record.hint, _signed(app, state))
    return KeyChange(key=replace(line, standing=line.standing or "trusted"))


def revoke_key(app: App, which: str, *, reason: str, at: float = 0.0, dry_run: bool = False) -> KeyChange:
    """Believe nothing any more that a key signed; where it is the one that signs, a new one takes over first.

    Args:
        app: Who revokes, where.
        which: A hint, its first digits, or the file of a public key; one that was never trusted may be named so too.
        reason: For the record, and for whoever is refused.
        at: Since when somebody else may have had it; 0 where nobody knows.
        dry_run: Say what bears its signature, and where that answers.

    Raises:
        Forbidden: Only an administrator may.
        Conflict: It is revoked already.
        InvalidInput: There is no reason, or it is in the future.
        NotFound: No key is known by that word.
    """
    require(app.identity, ADMIN)
    state = app.state()
    hint = _named(state, which)
    record = KeyRevoked(name=PACKAGES, hint=hint, reason=reason, at=at)
    if not reason.strip():
        raise InvalidInput("revoking a key needs a reason", "say why, with --reason", where="reason")
    rotated = ""
    if not dry_run:
        if hint == state.signer(PACKAGES):
            rotated = rotate_key(app, reason=f"the one before is revoked: {reason}").rotated
        app.registry.append("key.revoked", SUBJECT, record, by=app.identity)
        write_trusted(app.registry.home, app.registry)
    state = app.state()
    line = _line(state, hint, _signed(app, state))
    return KeyChange(key=replace(line, standing="revoked", reason=reason, at=at), rotated=rotated)


def remove_key(app: App, which: str, *, reason: str = "", dry_run: bool = False) -> KeyChange:
    """Trust a key no longer; nothing is said against it, and it may be trusted again.

    Raises:
        Forbidden: Only an administrator may.
        Conflict: It is the one that signs.
        NotFound: It is not trusted.
    """
    require(app.identity, ADMIN)
    state = app.state()
    hint = _named(state, which)
    line = _line(state, hint, _signed(app, state))
    if not dry_run:
        record = KeyRemoved(name=PACKAGES, hint=hint, reason=reason)
        app.registry.append("key.removed", SUBJECT, record, by=app.identity)
        write_trusted(app.registry.home, app.registry)
    return KeyChange(key=replace(line, standing="removed", reason=reason))


def resign(app: App, ref: str, *, reason: str, dry_run: bool = False) -> Resigned:
    """Have this home's key sign a version's package that lost its signer, over the bytes that were registered.

    The chain has the digest from the day of its registration, under a key of its own: whatever the lost key signed
    since is another package. That the model was good on that day is for the caller to judge.

    Raises:
        Forbidden: Only an administrator may.
        Untrusted: The package is not what was registered.
        InvalidInput: There is no reason.
        NotFound: There is no such version.
    """
    require(app.identity, ADMIN)
    if not reason.strip():
        raise InvalidInput("signing anew needs a reason", "say with --reason why it is good", where="reason")
    version = app.resolve(ref).version
    place = app.registry.packages.path(version.digest)
    package = open_package(place, digest=version.digest)
    key = app.package_key
    record = Resigned(
        model=version.model,
        version=version.version,
        digest=version.digest,
        signer=key.public_key().hint,
        reason=reason,
    )
    if not dry_run:
        digests = {MANIFEST: version.digest.partition(":")[2]}
        digests |= {name: entry.sha256 for name, entry in package.manifest.files.items()}
        # On record first: a signature without its event would be a signature that nobody answers for.
        app.registry.append("package.resigned", f"signature/{version.model}", record, by=app.identity)
        app.registry.packages.put_file(version.digest, SIGNATURE, bundle_of(digests, key, name=version.digest))
    return record


def adopt_signature(app: App, version: Version, bundle: bytes) -> bool:
    """Take a pulled signature for a package that is here under one that counts no longer.

    Args:
        app: Who pulls.
        version: What is here.
        bundle: Judged to be a trusted key's, over the very same files.

    Returns:
        Whether it was needed.
    """
    place = app.registry.packages.path(version.digest)
    if claims_trusted(place, app.state()):
        return False
    open_package(place, digest=version.digest)
    app.registry.packages.put_file(version.digest, SIGNATURE, bundle)
    return True


def distrusted(app: App) -> dict[str, tuple[str, ...]]:
    """Endpoint -> versions that answer there and that nothing would load again, for their signer's sake."""
    state = app.state()
    found: dict[str, tuple[str, ...]] = {}
    for name, endpoint in state.endpoints.items():
        lost = tuple(one.ref for one in endpoint.live if not _is_trusted(app, one.digest, state))
        if lost:
            found[name] = lost
    return found


def _is_trusted(app: App, digest: str, state: State) -> bool:
    try:
        return claims_trusted(app.registry.packages.path(digest), state)
    except NotFound:
        return True  # it is not here, which is another trouble


def _named(state: State, which: str) -> str:
    """The hint of a key that a person names."""
    if Path(which).is_file():
        return load_public_key(Path(which)).hint
    word = which.lower()
    known = {one.hint for one in state.keys.get(PACKAGES, ())} | state.revoked.keys()
    found = [hint for hint in known if hint.startswith(word)] if len(word) >= MIN_HINT else []
    if len(found) != 1:
        raise NotFound(
            "no one key is known by that word", f"give its file, or {MIN_HINT} digits or more of its hint", where="key"
        )
    return found[0]


def _signed(app: App, state: State) -> dict[str, list[str]]:
    """Hint -> versions whose signature names it."""
    signed: dict[str, list[str]] = {}
    for model in state.models.values():
        for known in model.versions:
            try:
                place = app.registry.packages.path(known.version.digest)
                hint = claimed_signer(read_bytes(place, SIGNATURE, limit=MAX_SIGNATURE_BYTES))
            except (NotFound, Untrusted):
                continue
            signed.setdefault(hint, []).append(known.version.ref)
    return signed


def _line(state: State, hint: str, signed: dict[str, list[str]]) -> KeyLine:
    record = next((one for one in state.keys.get(PACKAGES, ()) if one.hint == hint), None)
    gone = state.revoked.get(hint)
    versions = tuple(signed.get(hint, ()))
    standing = "revoked" if gone else ""
    if record is not None:
        standing = "trusted" if not record.own else "signs" if hint == state.signer(PACKAGES) else "retired"
    endpoints = (name for name, one in state.endpoints.items() if any(live.ref in versions for live in one.live))
    return KeyLine(
        hint=hint,
        standing=standing,
        reason=gone.reason if gone else record.reason if record else "",
        at=gone.at if gone else 0.0,
        versions=versions,
        endpoints=tuple(sorted(endpoints)),
    )
