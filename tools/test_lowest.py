"""Run the quick tests with the lowest allowed version of everything the project depends on.

    python tools/test_lowest.py 3.10 3.12 3.13
    python tools/test_lowest.py /usr/bin/python3.11 -- -x tests/cli

Makes a virtual environment for each Python (a version that uv finds, or a path), installs the
lowest set there, as wheels only, prints its versions and runs the tests that are not slow, or the
arguments after ``--``. Packages that the project does not name are the newest allowed, as they
would be for a user. Needs uv. Exits with 1 if a set cannot be installed or a test fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTALL = ("uv", "pip", "install", "--quiet", "--resolution", "lowest-direct")
WHEELS = ("--only-binary", ":all:", "--no-binary", "onnx-lobs")  # the project itself is built
QUICK = ("-q", "-m", "not slow")


def call(*command: str | Path, python: Path) -> bool:
    """Run a command in the repository for a Python; return whether it succeeded."""
    environment = {**os.environ, "VIRTUAL_ENV": str(python.parent.parent)}
    environment.pop("PYTHONPATH", None)  # what is installed is tested, not the working tree
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def run_lowest(version: str, folder: Path, tests: Sequence[str]) -> bool:
    """Install the lowest set for a Python into a folder and test it; return whether all passed."""
    python = folder / "bin" / "python"
    return (
        call("uv", "venv", "--quiet", "--python", version, folder, python=python)
        and call(*INSTALL, *WHEELS, ".[test]", python=python)
        and call("uv", "pip", "list", "--quiet", python=python)
        and call(python.parent / "onnx-lobs", "--help", python=python)
        and call(python.parent / "pytest", "-p", "no:cacheprovider", *tests, python=python)
    )


def main() -> None:
    """Test each Python that is named; exit with 1 if one fails."""
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", nargs="+", help="a version, 3.10, or the path of an interpreter")
    passed = {}
    for version in parser.parse_args(given[:end]).python:
        with tempfile.TemporaryDirectory() as scratch:
            tests = given[end + 1 :] or QUICK
            passed[version] = run_lowest(version, Path(scratch) / "venv", tests)
    for version, fine in passed.items():
        print(f"Python {version}: {'passed' if fine else 'FAILED'}")
    sys.exit(not all(passed.values()))


if __name__ == "__main__":
    main()
