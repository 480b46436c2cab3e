"""Run onnx-lobs in a child process and print its time and its largest resident memory.

    python tools/make_large.py --out /tmp/large
    python tools/measure_peak.py /tmp/large/model.onnx -d /tmp/large/calibration.npz \\
        --method magnitude --no-refit -o /tmp/pruned.onnx

All arguments go to onnx-lobs. Mapped files count as resident while they are mapped.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

KIB = 1024


def main() -> None:
    """Run the command; exit with its code."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "onnx_lobs", *sys.argv[1:]], check=False)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIB
    print(f"{seconds:.1f} s, peak resident memory {peak / 1e9:.2f} GB")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
