"""A class of PyTorch's with its weights in an interpreter of its own: interviewed behind the walls, asked by name."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.frameworks.torch_for_tests import SOURCE, digit_images, trained_digits

from penstock.build.assemble import put_together
from penstock.build.dependencies.surroundings import Surroundings
from penstock.build.elsewhere import examine_elsewhere
from penstock.build.examine import Looked
from penstock.build.request import BuildRequest
from penstock.build.rows import read_rows
from penstock.build.sources import archive_source, find_source
from penstock.runtime.engine import open_engine, prove

pytestmark = pytest.mark.timeout(600)

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_it_is_told_what_it_takes_and_answers_as_it_does_here(tmp_path: Path) -> None:
    images, _ = digits = digit_images()
    model = trained_digits(digits)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "model.py").write_text(SOURCE)
    torch.save(model.state_dict(), tmp_path / "code" / "weights.pt")
    place = tmp_path / "place"
    for name in ("given", "scratch", "package"):
        (place / name).mkdir(parents=True)
    source = find_source(tmp_path / "code")
    assert source is not None
    archive_source(source, place / "given" / "model")
    request = BuildRequest(name="digits", out=tmp_path / "out", data=images[:60], lock=False)
    request.out.mkdir()
    given = read_rows(request)
    assert given is not None
    looked = Looked(kind="python", suffix="/penstock_entry.py")
    examined = examine_elsewhere(
        place / "given" / "model", looked, given.frame, python=Path(sys.executable), place=place, patience_s=300
    )
    assert (examined.engine, examined.parity.passed) == ("python", False)
    ((name, datatype, shape),) = [(one.name, one.datatype, one.shape) for one in examined.signature.inputs]
    assert (name, datatype, shape) == ("image", "FP32", (-1, 1, 8, 8))
    around = Surroundings("", Path(sys.executable), ())
    package = put_together(place, examined, given, request, around)
    assert package.manifest.engine == "python"
    engine = open_engine(package)
    prove(engine, package)
    answers = engine.run({"image": images[100:120]})
    engine.close()
    with torch.no_grad():
        wanted = model(torch.from_numpy(images[100:120])).numpy()
    np.testing.assert_allclose(next(a for n, a in answers.items() if n != "label"), wanted, rtol=1e-5, atol=1e-5)
    assert answers["label"].tolist() == [NAMES[at] for at in wanted.argmax(axis=1)]
