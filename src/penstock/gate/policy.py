"""What the gate holds a candidate to: a policy, read from YAML, typed, and named by its digest (stage 2, gate).

    version: 1
    name: starter
    approvals: [approver]
    checks:
      quality: {margin: 0.01, blocks: [refuse, unknown]}

What comes in: a file or nothing. What goes out: a `Policy`. Each check's limits are typed in the check's own file;
a check that the file does not name is not asked, a limit it does not name keeps its default.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec
import yaml

from penstock import adapters
from penstock.errors import BadConfig
from penstock.gate.check import Check, CheckLimits
from penstock.statistics.intervals import Precision
from penstock.yamlfile import read_yaml, require_known

VERSION = 1
T = TypeVar("T")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The list of checks with their limits.

    Attributes:
        version: Number of this form.
        name: As people call it.
        checks: Check -> its limits, in the order in which they run.
        approvals: Roles that must say yes to a passed version before it may be released.
        confidence: Of every interval.
        seed: Of everything drawn; equal seeds give equal findings.
    """

    version: int = VERSION
    name: str = "starter"
    approvals: tuple[str, ...] = ()
    confidence: float = 0.95
    seed: int = 0
    checks: Mapping[str, CheckLimits]

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` over every limit, the defaulted ones included."""
        return f"sha256:{hashlib.sha256(msgspec.json.encode(plain(self), order='sorted')).hexdigest()}"

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the data's files that some check needs, besides the model's own."""
        return tuple(dict.fromkeys(name for limits in self.checks.values() for name in limits.reads))

    @property
    def precision(self) -> Precision:
        """How sure the figures have to be."""
        return Precision(confidence=self.confidence, seed=self.seed)


def starter() -> Policy:
    """The policy in force where nobody wrote one: every check, its default limits, one validation file is enough."""
    return Policy(checks=MappingProxyType({name: limits_type(name)() for name in adapters.TABLE["check"]}))


def read_policy(path: Path) -> Policy:
    """A policy from its file.

    Raises:
        BadConfig: It cannot be read, or holds an unknown key, an unknown check or a value of the wrong type.
    """
    return parse_policy(read_yaml(path, "the policy", "it is a YAML file"))


def parse_policy(found: object) -> Policy:
    """A policy from plain data.

    Raises:
        BadConfig: As `read_policy`.
    """
    if not isinstance(found, dict):
        raise BadConfig("the policy is not a table of keys", "start from the starter policy", where="policy")
    require_known("policy", found, Policy.__struct_fields__)
    checks = found.get("checks")
    if not isinstance(checks, dict) or not checks:
        raise BadConfig("the policy names no check", "list at least one", where="policy.checks")
    require_known("policy.checks", checks, tuple(adapters.TABLE["check"]))
    limits = {name: _limits(name, given) for name, given in checks.items()}
    policy = _convert({**found, "checks": {}}, Policy, "policy")
    if policy.version != VERSION:
        raise BadConfig(f"this version reads policies of version {VERSION}", "write it anew", where="policy.version")
    if not 0.5 <= policy.confidence < 1:
        raise BadConfig("the confidence is not in 0.5 to 1", "0.95 is usual", where="policy.confidence")
    return msgspec.structs.replace(policy, checks=MappingProxyType(limits))


def write_policy(policy: Policy, path: Path) -> None:
    """Write a policy out, every limit included; `read_policy` gives it back."""
    path.write_text(yaml.safe_dump(plain(policy), sort_keys=False, allow_unicode=True), encoding="utf-8")


def plain(policy: Policy) -> dict[str, object]:
    """A policy as plain data, every limit included."""
    found: dict[str, object] = {
        "version": policy.version,
        "name": policy.name,
        "approvals": list(policy.approvals),
        "confidence": policy.confidence,
        "seed": policy.seed,
        "checks": {name: msgspec.to_builtins(limits) for name, limits in policy.checks.items()},
    }
    return found


def check_type(name: str) -> type[Check]:
    """The class of a check.

    Raises:
        NotFound: There is no check of that name.
    """
    return adapters.load("check", name)


def limits_type(name: str) -> type[CheckLimits]:
    """The type of a check's limits; its defaults are the starter policy's."""
    return check_type(name).Limits


def _limits(name: str, given: object) -> CheckLimits:
    kind, where = limits_type(name), f"policy.checks.{name}"
    fields = {} if given is None else given
    if not isinstance(fields, dict):
        raise BadConfig("a check's limits are a table of keys", "write {} for the defaults", where=where)
    require_known(where, fields, kind.__struct_fields__)
    return _convert(fields, kind, where)


def _convert(found: object, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at ")
        field = place.strip("`").removeprefix("$")
        raise BadConfig(reason, "see the starter policy for its type", where=f"{where}{field}") from error
