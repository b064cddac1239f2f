"""What production taught: predictions of an endpoint beside their outcomes, as rows to train on."""

from __future__ import annotations

import msgspec
import pandas as pd

from penstock.access.identities import require
from penstock.access.permissions import READ
from penstock.app.app import App
from penstock.feedback.join import join
from penstock.log.tables import compact, exchanges, outcomes


def labelled_rows(app: App, endpoint: str, *, since: float = 0.0, until: float = 0.0) -> pd.DataFrame:
    """Every answered prediction whose outcome is known.

    Args:
        app: Whose endpoint.
        endpoint: Which.
        since: Event time, included.
        until: Event time, excluded; 0 means no end.

    Returns:
        One column an input, and ``outcome``, ``prediction``, ``event_time``, ``key``, ``version``; oldest first.
    """
    require(app.identity, READ, endpoint=endpoint)
    log = app.home / "log"
    compact(log)
    answered = exchanges(log, endpoint=endpoint, since=since, until=until)
    known = answered.filter(pd.Series(answered["shadow"].to_pylist()).eq(False).to_numpy())
    columns = ["prediction", "inputs", "event_time", "key", "version"]
    joined = join(known.select(columns), outcomes(log)).to_pandas()
    joined = joined[joined["outcome"].notna()].sort_values("event_time", kind="stable", ignore_index=True)
    decode = msgspec.json.Decoder(dict[str, object]).decode
    inputs = pd.DataFrame([decode(text) for text in joined["inputs"]])
    values = [msgspec.json.decode(text) for text in joined["outcome"]]
    rest = joined[["prediction", "event_time", "key", "version"]]
    found: pd.DataFrame = pd.concat([inputs, rest, pd.Series(values, name="outcome")], axis=1)
    return found
