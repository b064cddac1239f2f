"""Stage 4, serve: the packages this worker holds, from folder to proven.

    folder -> open_package (signature, digests) -> open_engine -> golden examples answered right -> Model

Loading runs on a thread beside the traffic; only a model that is proven is ever handed out. One that nothing
names any more is closed after its last request.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from penstock.errors import PenstockError
from penstock.packages.manifest import numbers_beside
from penstock.packages.read import Package, open_package
from penstock.packages.signature import REVOKED_SIGNER, UNKNOWN_SIGNER
from penstock.records import Batching, Limits, Manifest, Sizing, Snapshot
from penstock.runtime.ceiling import Ceiling
from penstock.runtime.engine import PROVE_S, Engine, ended_after, open_engine, prove
from penstock.runtime.memory import MEBIBYTE, require, resident_bytes
from penstock.serve.lane import Lane, open_lane, resettled
from penstock.serve.metered import MeteredEngine, metered
from penstock.serve.meters import Meters
from penstock.serve.needs import Needs, measured
from penstock.serve.pace import MAX_BATCH_ROWS, Pace, measure
from penstock.tensors import Arrays

if TYPE_CHECKING:
    from penstock.packages.publickey import VerifyingKey

MEASURE_S = 0.3
INLINE_MEASURE_S = 0.03
"""How long finding a model's pace may take when it is loaded: a quick one must not wait long for its first request."""
BACKGROUND_ROWS = 32
BACKGROUND_BYTES = MEBIBYTE
"""Golden inputs that are kept in memory to explain answers by."""

UNMEASURED_S = 0.01
"""What a run is taken to last until some were seen, where there is no example to measure one on."""


class Model:
    """A loaded, warmed and proven package with its queue.

    Attributes:
        need_bytes: Memory that it was measured to take.
        sizing: As it was opened; how many workers do so is not in it.
        background: Inputs of its golden examples, against which answers are explained.
    """

    __slots__ = ("_closed", "_held", "background", "digest", "engine", "lane", "manifest", "need_bytes", "sizing")

    def __init__(self, digest: str, manifest: Manifest, lane: Lane, engine: MeteredEngine | None = None) -> None:
        self.digest = digest
        self.manifest = manifest
        self.lane = lane
        self.engine = engine
        self.need_bytes = 0
        self.sizing = Sizing()
        self.background: Arrays = {}
        self._held = 0
        self._closed = False

    def hold(self) -> None:
        """Keep it open between two jobs of one caller."""
        self._held += 1

    def let_go(self) -> None:
        """The caller's last job is over."""
        self._held -= 1
        if self._closed and not self._held:
            self.lane.close()

    def close(self) -> None:
        """Close after the last job, of those that hold it too."""
        self._closed = True
        if not self._held:
            self.lane.close()

    def settle(self, batching: Batching) -> None:
        """Form runs by other settings from now on."""
        self.lane = resettled(self.lane, self.manifest.signature, batching)


class Shelf:
    """Models by digest, and why others are not there.

    Args:
        keys: Who may have signed a package; None takes unsigned ones.
        environments: Where environments of sandboxed models are kept.
        needs: Where measured needs of memory are kept.
        ceiling: Of this process's memory, where somebody settles it again and again.
    """

    def __init__(
        self,
        keys: Sequence[VerifyingKey] | None,
        environments: Path | None,
        needs: Path | None = None,
        ceiling: Ceiling | None = None,
    ) -> None:
        self._needs = Needs(needs)
        self.models: dict[str, Model] = {}
        self.failed: dict[str, str] = {}
        self.codes: dict[str, str] = {}
        self._meters: Meters | None = None
        self._keys = keys
        self._environments = environments
        self._coming: dict[str, asyncio.Task[None]] = {}
        self._replaced: list[Model] = []
        self._ceiling = ceiling
        # Two: what is loaded to be warm, and may hang, holds up nothing that is needed.
        self._loader = ThreadPoolExecutor(2, "loader")

    def count(self, meters: Meters) -> None:
        """Have every engine, those to come included, count its runs."""
        self._meters = meters
        for model in self.models.values():
            if model.engine is not None:
                model.engine.series = meters.engine(model.digest)

    async def ensure(self, folders: Mapping[str, str], sizings: Mapping[str, Sizing] | None = None) -> bool:
        """Load what is not here yet; whether all of it is here now.

        A package that failed is tried again each time it is asked for; one that is on its way is waited for. One that
        is here with other threads or providers is opened again, and the old one answers until the routes have moved.
        """
        for digest, folder in folders.items():
            wanted = (sizings or {}).get(digest)
            if digest in self.models and wanted in (None, self.models[digest].sizing):
                continue
            if digest not in self._coming:
                bringing = self._bring(digest, folder, wanted or Sizing())
                self._coming[digest] = asyncio.get_running_loop().create_task(bringing)
            await self._coming[digest]
        return all(digest in self.models for digest in folders)

    async def _bring(self, digest: str, folder: str, sizing: Sizing) -> None:
        """Put one on the shelf, or note why it cannot be."""
        try:
            package, engine, pace, need, background = await asyncio.get_running_loop().run_in_executor(
                self._loader, self._load, Path(folder), digest, sizing
            )
        except PenstockError as error:
            self.failed[digest] = str(error)
            self.codes[digest] = error.code
        # The worker loop: a package must not be able to end it.
        except Exception as error:
            self.failed[digest] = f"loading raised {type(error).__name__}: {error}"
        else:
            self.failed.pop(digest, None)
            self.codes.pop(digest, None)
            counting = metered(engine)
            counting.series = self._meters.engine(digest) if self._meters else None
            lane = open_lane(counting, package.manifest.signature, pace=pace)
            if digest in self.models:
                self._replaced.append(self.models[digest])
            self.models[digest] = Model(digest, package.manifest, lane, counting)
            self.models[digest].need_bytes = need
            self.models[digest].sizing = sizing
            self.models[digest].background = background
        finally:
            del self._coming[digest]

    def settle(self, snapshot: Snapshot) -> None:
        """Form each model's runs by its first route's settings."""
        settled: set[str] = set()
        for route in snapshot.routes:
            for variant in route.variants:
                if variant.digest in self.models and variant.digest not in settled:
                    settled.add(variant.digest)
                    self.models[variant.digest].settle(_completed(route.limits))

    def troubles(self) -> dict[str, str]:
        """Why models that are here do not answer just now, by digest."""
        found = ((digest, model.lane.trouble()) for digest, model in self.models.items())
        return {digest: why for digest, why in found if why}

    def distrusted(self) -> set[str]:
        """Digests that are not here because nobody whom we trust signed them."""
        return {digest for digest, code in self.codes.items() if code in (REVOKED_SIGNER, UNKNOWN_SIGNER)}

    def keep(self, digests: set[str]) -> None:
        """Close everything else."""
        while self._replaced:
            self._replaced.pop().close()
        for digest in [digest for digest in self.models if digest not in digests]:
            self.drop(digest)
        for digest in [digest for digest in self.failed if digest not in digests]:
            del self.failed[digest]
            self.codes.pop(digest, None)

    def drop(self, digest: str) -> None:
        """Close one that nobody will ask for any more."""
        if digest in self.models:
            self.models.pop(digest).close()

    def close(self) -> None:
        """Close everything."""
        self.keep(set())
        self._loader.shutdown(wait=False, cancel_futures=True)

    def _load(self, folder: Path, digest: str, sizing: Sizing) -> tuple[Package, Engine, Pace, int, Arrays]:
        """On the loader's thread."""
        package = open_package(folder, keys=self._keys, digest=digest)
        self._needs.admit(package, digest)
        mapped = sum(numbers_beside(package.manifest).values())
        with self._ceiling.while_loading(mapped) if self._ceiling is not None else nullcontext():
            return self._opened(package, digest, sizing)

    def _opened(self, package: Package, digest: str, sizing: Sizing) -> tuple[Package, Engine, Pace, int, Arrays]:
        """Open, prove and measure what is verified."""
        before = resident_bytes(os.getpid())
        engine = open_engine(package, environments=self._environments, sizing=sizing)
        try:
            prove(engine, package, within_s=PROVE_S)
            with ended_after(engine, PROVE_S):
                pace = _measured(engine, package)
            need = measured(engine, resident_bytes(os.getpid()) - before)
            self._needs.keep(digest, need)
            require(0, f"{package.manifest.name} ({need / MEBIBYTE:.0f} MiB)", known=True)
        except BaseException:
            engine.close()
            raise
        return package, engine, pace, need, background_of(package)


def _completed(limits: Limits) -> Batching:
    """A route's settings; a run that outlasts the route's own deadline hangs."""
    batching = limits.batching
    return batching if batching.hang_s else msgspec.structs.replace(batching, hang_s=limits.deadline_s)


def background_of(package: Package) -> Arrays:
    """The first golden inputs; fewer where rows are large, none where there are no examples."""
    golden = package.golden()
    inputs = golden.inputs
    row_bytes = sum(array.nbytes // max(len(array), 1) for array in inputs.values())
    rows = min(BACKGROUND_ROWS, golden.rows, BACKGROUND_BYTES // max(row_bytes, 1))
    # A copy: a view would keep all of them in memory.
    return {name: array[:rows].copy() for name, array in inputs.items()} if rows else {}


def _measured(engine: Engine, package: Package) -> Pace:
    """How long runs take, warm; a lone row is all that is asked of a model whose rows cannot be stacked."""
    golden = package.golden()
    inputs = golden.inputs
    if not golden.rows:  # nobody knows what it may be asked
        return Pace([(1, UNMEASURED_S)])

    def run(rows: int) -> None:
        engine.run({name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()})

    stackable = all(spec.shape[:1] == (-1,) and -1 not in spec.shape[1:] for spec in package.manifest.signature.inputs)
    run(1)
    within_s = INLINE_MEASURE_S if engine.inline else MEASURE_S
    return measure(run, within_s=within_s, most=MAX_BATCH_ROWS if stackable else 1)
