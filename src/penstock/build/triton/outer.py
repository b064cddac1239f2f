"""What Triton's clients know of a model, from its configuration: sizes with the batch, reshapes, labels of classes.

TritonConfig + the model's folder -> `OuterForm`, which travels with the model
"""

from __future__ import annotations

from pathlib import Path

from penstock.build.triton.repository import CONFIG, TritonConfig, TritonModel, TritonTensor
from penstock.errors import InvalidInput, NotFound
from penstock.packages.tree import read_bytes
from penstock.runtime.outerform import OuterForm, OuterTensor

MAX_LABEL_BYTES = 8 << 20


def outer_form(model: TritonModel) -> OuterForm | None:
    """What a model's configuration says; None where it has none.

    Raises:
        InvalidInput: There is no batch of any size, or labels are not as many as the numbers that they are of.
        Untrusted: A file of labels is a link, or has a name that no package has.
        NotFound: There is no such file.
    """
    config = model.config
    if config is None:
        return None
    return OuterForm(
        inputs=tuple(_outer(one, config, model.folder) for one in config.inputs),
        outputs=tuple(_outer(one, config, model.folder) for one in config.outputs),
    )


def _outer(one: TritonTensor, config: TritonConfig, folder: Path) -> OuterTensor:
    batch = (-1,) if config.max_batch_size else ()
    return OuterTensor(
        name=one.name,
        datatype=one.datatype,
        shape=(*batch, *one.dims),
        within=(*batch, *(one.dims if one.inner is None else one.inner)),
        labels=_labels(one, folder) if one.labels else (),
    )


def _labels(one: TritonTensor, folder: Path) -> tuple[str, ...]:
    """A label a line, as Triton reads them."""
    if not (folder / one.labels).is_file():
        raise NotFound(f"there is no {one.labels[:80]}", "see label_filename", where=CONFIG, code="build.no_labels")
    text = read_bytes(folder, one.labels, limit=MAX_LABEL_BYTES).decode(errors="replace")
    labels = tuple(line.strip() for line in text.splitlines())
    last = one.dims[-1] if one.dims else 1
    if last not in (-1, len(labels)):
        raise InvalidInput(
            f"the file of labels of {one.name[:80]} has {len(labels)} lines, and it has {last} numbers",
            "write one label a line, in the order of the numbers",
            where=CONFIG,
            code="build.triton",
        )
    return labels
