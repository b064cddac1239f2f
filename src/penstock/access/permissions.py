"""The permissions: one constant each, and one table that says what each lets one do.

Every event kind, route and command names one of these. There is no other list.
"""

from __future__ import annotations

from types import MappingProxyType

READ = "read"
PREDICT = "predict"
OUTCOME = "outcome"
PACKAGE = "package"
CHECK = "check"
APPROVE = "approve"
RELEASE = "release"
ROLLBACK = "rollback"
LOAD = "load"
SHARE = "share"
INCIDENT = "incident"
BYPASS = "bypass"
ADMIN = "admin"

PERMISSIONS = MappingProxyType(
    {
        READ: "see models, releases, measurements, incidents and events",
        PREDICT: "ask an endpoint for predictions",
        OUTCOME: "report what became true of a prediction",
        PACKAGE: "register datasets and versions of a model",
        CHECK: "run the gate and record its verdict",
        APPROVE: "approve a version that somebody else packaged",
        RELEASE: "release a version to an endpoint and move aliases",
        ROLLBACK: "take an endpoint back to an earlier release",
        LOAD: "load and unload the models of an endpoint on a data plane",
        SHARE: "hand tensors to a data plane on the same machine in shared memory",
        INCIDENT: "open and close incidents and make proposals",
        BYPASS: "break the glass: let one version past the gate, with a reason, for a time",
        ADMIN: "name identities, give and revoke tokens, set the policy, say whose packages are trusted",
    }
)
"""Permission -> what it lets one do, in words that complete "may ..."."""
