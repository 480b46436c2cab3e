"""An external tensor's bytes lie in a file of the model's folder, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from build_onnx import external
from onnx import numpy_helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.location import ExternalRef, external_path, external_ref


def test_external_ref_says_where_the_bytes_lie() -> None:
    array = np.zeros(4, np.float32)
    assert external_ref(external(array)) == ExternalRef("w.data", 0, None)
    assert external_ref(external(array, offset=64, length=16)) == ExternalRef("w.data", 64, 16)
    assert external_ref(numpy_helper.from_array(array)) is None


@pytest.mark.parametrize("location", ["/etc/passwd", "C:\\w.data", "\\\\host\\w.data"])
def test_absolute_location_is_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(ModelError, match=r"absolute external location"):
        external_path(external(np.zeros(2, np.float32), location), tmp_path)


def test_location_outside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link.data").symlink_to("/etc/passwd")
    for location in ("../w.data", "a/../../w.data", "link.data"):
        with pytest.raises(ModelError, match=r"outside the model's folder"):
            external_path(external(np.zeros(2, np.float32), location), tmp_path)


def test_external_entries_without_sense_are_refused() -> None:
    array = np.zeros(2, np.float32)
    with pytest.raises(ModelError, match=r"external offset '-1', which is no count"):
        external_ref(external(array, offset=-1))
    tensor = external(array)
    tensor.ClearField("external_data")
    with pytest.raises(ModelError, match=r"names no location"):
        external_ref(tensor)
