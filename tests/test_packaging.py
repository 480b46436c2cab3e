"""The wheel holds the package and no more, the sdist what one needs to build and test it."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest
from pages import GUIDE, ROOT

PACKAGE = ROOT / "onnx_lobs"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MODELS_AND_DATA = 6_000_000  # bytes; compressed files already
MOST_TEXT = 1_500_000  # bytes of all others, compressed: code, tests and pages, 1.1 MB today
RESULTS = 300_000  # bytes of what benchmarks left: tables and one plot, no records of every case
FILES = {".gitignore", "LICENSE", "README.md", "pyproject.toml"}
FOLDERS = {".ci", "models", "onnx_lobs", "tests", "tools"}


def build(kind: str, folder: Path) -> Path:
    """Build a ``wheel`` or an ``sdist`` of the working tree into a folder, as pip does."""
    builder = pytest.importorskip(
        f"hatchling.builders.{kind}", reason="hatchling: see the extra `test`"
    )
    made = getattr(builder, f"{kind.capitalize()}Builder")(str(ROOT))
    (path,) = made.build(directory=str(folder), versions=["standard"])
    return Path(path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> dict[PurePosixPath, int]:
    """Sizes of the files in the sdist, by their path in the repository."""
    path = build("sdist", tmp_path_factory.mktemp("sdist"))
    with tarfile.open(path) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
    sizes = {PurePosixPath(*PurePosixPath(f.name).parts[1:]): f.size for f in files}
    return {**sizes, PurePosixPath("archive"): path.stat().st_size}


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if ".dist-info/" not in n]
    there = [p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sorted(names) == sorted(p.relative_to(ROOT).as_posix() for p in there)


def test_the_wheel_holds_pages_templates_and_the_mark_of_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"onnx_lobs/guide/{page.name}" for page in GUIDE.glob("*.md")} <= names
    assert "onnx_lobs/py.typed" in names
    assert any(re.fullmatch(r"onnx_lobs/report/html/templates/\w+\.html", n) for n in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_package_reads_its_pages_out_of_the_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "onnx_lobs", "guide", "tour"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == (GUIDE / "tour.md").read_text(encoding="utf-8")


def test_the_metadata_name_the_pythons_and_no_address(wheel: Path) -> None:
    found = metadata(wheel)
    classifiers = [c.rpartition(" :: ")[2] for c in found.get_all("Classifier", [])]
    assert tuple(c for c in classifiers if re.fullmatch(r"3\.\d+", c)) == PYTHONS
    assert found["Requires-Python"] == f">={PYTHONS[0]}"
    assert found["License-Expression"] == "Apache-2.0"
    assert found.get_all("Project-URL") is None  # there is no public address yet


def test_the_version_in_the_metadata_is_the_one_of_the_package(wheel: Path) -> None:
    assert metadata(wheel)["Version"] == importlib.import_module("onnx_lobs").__version__


def test_the_sdist_has_what_builds_and_tests_need(sdist: dict[PurePosixPath, int]) -> None:
    needed = ("pyproject.toml", "README.md", "LICENSE", "onnx_lobs/__init__.py", "tests/pages.py")
    data = ("models/mnist/calibration.npz", "tools/results/bench_models.md")
    assert {PurePosixPath(name) for name in (*needed, *data)} <= set(sdist)


def test_the_sdist_is_small_but_for_models(sdist: dict[PurePosixPath, int]) -> None:
    models = sum(size for path, size in sdist.items() if path.parts[0] == "models")
    assert not [path for path in sdist if path.match("tools/results/*.json")]
    assert models <= MODELS_AND_DATA
    results = sum(size for path, size in sdist.items() if path.match("tools/results/*"))
    assert 0 < results <= RESULTS
    assert sdist[PurePosixPath("archive")] - models <= MOST_TEXT


def test_the_top_of_the_repository_is_as_it_was_laid_out() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout: what is tracked is not known")
    names = ["git", "ls-files", "-z"]
    tracked = subprocess.run(names, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {path.partition("/")[0] for path in tracked.split("\0") if path} == FILES | FOLDERS
