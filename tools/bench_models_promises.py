"""What the results of tools/bench_models.py say of what was promised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from bench_models import Case

RATIO, LEAST, MOST = 0.3, 0.04, 0.6
"""promise: drop / onnxsim SparseGPT's drop, wherever that one is between LEAST and MOST"""
POINT = 0.01
SPARSER = 0.08  # promise: auto's sparsity above uniform's at the same score, on average
FARTHER = 0.15  # promise: sparsity with at most a point of drop above the rival's, on average
LEVELS = 501  # scores at which curves are compared
ROUNDING = 1e-9
RIVAL = "onnxsim-sparsegpt"
Known = Mapping[tuple[str, str, float], "Case"]


@dataclass(frozen=True)
class Difference:
    """Mean difference of two networks' scores on the same samples, and its standard error."""

    mean: float
    error: float

    @classmethod
    def between(cls, one: Case, other: Case) -> Difference:
        """Return the score of `one` less that of `other`."""
        from bench_models import unpack

        each = unpack(one.hits).astype(float) - unpack(other.hits)
        return cls(float(each.mean()), float(each.std(ddof=1) / np.sqrt(each.size)))


def promises(cases: Sequence[Case]) -> Iterator[str]:
    """Yield a line of Markdown for every promise, kept or not."""
    known = {(c.model, c.method, c.sparsity): c for c in cases if c.score is not None}
    yield from _never_worse(known)
    yield from _sparser(known)
    yield from _against_rival(known)
    yield from _reach(known)


def _never_worse(known: Known) -> Iterator[str]:
    pairs = [
        (model, sparsity, Difference.between(case, known[model, "uniform", sparsity]))
        for (model, method, sparsity), case in known.items()
        if method == "auto" and (model, "uniform", sparsity) in known
    ]
    worse = [(m, s, d) for m, s, d in pairs if d.mean < 0]
    # one sample of all that differ is a difference of exactly one standard error
    failed = [d for _, _, d in worse if d.mean < -d.error * (1 + ROUNDING)]
    far = [d for d in failed if d.mean < -2 * d.error]
    verdict = "FAIL" if failed else "PASS"
    listed = "; ".join(f"{m} {s:.1%}: {d.mean:+.4f} ± {d.error:.4f}" for m, s, d in worse)
    yield (
        f"* {verdict}: auto >= uniform within a standard error of the paired difference, "
        f"{len(pairs)} cases; below it at all: {listed or 'nowhere'}; by more than one standard "
        f"error: {len(failed)}, more than two: {len(far)} (equal networks would be in 16 % and 2 % "
        "of the cases)"
    )


def _sparser(known: Known) -> Iterator[str]:
    """Say how much sparser auto is at the same score, on average over scores and then models.

    The scores go from a point below the dense one (above, they say nothing of sparsity) to the
    lowest that both methods come down to, at most MOST below.
    """
    gains = {}
    untold = []
    for model in dict.fromkeys(model for model, _, _ in known):
        curves = [_curve(known, model, method) for method in ("auto", "uniform")]
        if not all(curves):
            continue
        top = known[model, "dense", 0.0].score
        lowest = max(curves[0][-1][1], curves[1][-1][1], top - MOST)
        if lowest >= top - POINT:
            untold.append(model)
            continue
        levels = np.linspace(lowest, top - POINT, LEVELS)
        auto, uniform = (np.array([_reaches(c, top, s) for s in levels]) for c in curves)
        gains[model] = float((auto - uniform).mean()), lowest
    if not gains:
        return
    mean = float(np.mean([gain for gain, _ in gains.values()]))
    verdict = "PASS" if mean >= SPARSER else "FAIL"
    words = ", ".join(f"{m} {100 * g:+.1f} (down to {low:.3f})" for m, (g, low) in gains.items())
    without = f"; no score that both come down to: {', '.join(untold)}" if untold else ""
    yield (
        f"* {verdict}: at the same score auto is {100 * mean:.1f} points sparser than uniform on "
        f"average over {len(gains)} models (promised {100 * SPARSER:.0f}): {words}{without}"
    )


def _against_rival(known: Known) -> Iterator[str]:
    ratios = []
    for (model, method, sparsity), case in known.items():
        rival = known.get((model, RIVAL, sparsity))
        dense = known[model, "dense", 0.0]
        if method != "auto" or rival is None or not LEAST <= dense.score - rival.score <= MOST:
            continue
        lost, theirs = Difference.between(dense, case), dense.score - rival.score
        ratios.append(lost.mean / theirs)
        verdict = "PASS" if ratios[-1] <= RATIO else "FAIL"
        yield (
            f"* {verdict} {model} {sparsity:.1%}: drop {lost.mean:+.4f} ± {lost.error:.4f}, "
            f"{RIVAL} {theirs:+.4f}: {ratios[-1]:.2f} x (promised {RATIO})"
        )
    if ratios:
        yield f"* mean ratio of drops {np.mean(ratios):.3f} over {len(ratios)} cases"


def _reach(known: Known) -> Iterator[str]:
    """Say how sparse each method gets within a point of the dense score."""
    gains = []
    for model in dict.fromkeys(model for model, _, _ in known):
        dense = known[model, "dense", 0.0].score
        found = {
            method: _reaches(curve, dense, dense - POINT)
            for method in ("auto", "uniform", RIVAL)
            if (curve := _curve(known, model, method))
        }
        words = ", ".join(f"{method} {reach:.1%}" for method, reach in found.items())
        yield f"* {model}: within one point up to {words}"
        if "auto" in found and RIVAL in found:
            gains.append(found["auto"] - found[RIVAL])
    if gains:
        verdict = "PASS" if np.mean(gains) >= FARTHER else "FAIL"
        yield (
            f"* {verdict}: on average {100 * np.mean(gains):.1f} points farther than {RIVAL} "
            f"(promised {100 * FARTHER:.0f})"
        )


def _curve(known: Known, model: str, method: str) -> list[tuple[float, float]]:
    """Return (sparsity, score) in order, the nearest scores that never rise with sparsity.

    What rises is noise of the test samples; isotonic regression averages it away.
    """
    found = sorted((s, c.score) for (m, k, s), c in known.items() if (m, k) == (model, method))
    if not found:
        return []
    sparsities, scores = zip(*found, strict=True)
    fit = isotonic_regression(scores, increasing=False).x
    return list(zip(sparsities, map(float, fit), strict=True))


def _reaches(curve: Sequence[tuple[float, float]], dense: float, least: float) -> float:
    """Return where the score falls below `least`, on straight lines between what was measured."""
    s0, y0 = 0.0, dense
    for s1, y1 in curve:
        if y1 < least - ROUNDING:
            return s0 + (s1 - s0) * max(y0 - least, 0.0) / (y0 - y1)
        s0, y0 = s1, y1
    return s0
