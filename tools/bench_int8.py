"""Compare zeros and int8 found together with int8 put on the zeros afterwards.

    python tools/bench_int8.py --zoo ZOO --out OUT ppocr-cls:0.7 magika:0.5
    python tools/bench_int8.py --zoo ZOO --out OUT --table tools/results

For each model of the zoo (tools/zoo.py) and share of zeros, the same in every layer: the score of
the dense model, of the zeros alone, of ``--values int8 --format packed``, and of the zeros alone
with the weights of the same layers rounded by onnxruntime.quantization, symmetric with a scale for
each output. Beside each score stands the output error on the test samples, which is less a matter
of chance; and the bytes of the file over those of the dense one.

Each figure is kept in ``OUT/MODEL-SHARE.json`` as soon as it is measured, and is not measured
again. ``--table`` gathers all of them. A ``note`` is written by hand into a pair's file, where the
conditions were others.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import zoo
from onnx import TensorProto
from onnxruntime.quantization.quant_utils import quantize_data
from zoo_model import open_session

from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.output_axis import output_axis

WORDS = ("dense", "zeros", "joint", "after")
ALLOWED = 0.005  # of the score, that int8 may lose beside the same zeros
ALLOWED_SIZE = 0.2  # of the dense file, at 70 % zeros
LARGE = 0.7  # from which share of zeros on the file is to be as small


def main() -> None:
    """Measure every pair that is named, or write the table of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--effort", default="default")
    parser.add_argument("--table", type=Path, help="folder of bench_int8.md and bench_int8.json")
    parser.add_argument("pairs", nargs="*", metavar="MODEL:SHARE")
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    for pair in options.pairs:
        name, _, share = pair.partition(":")
        measure(options, name, share)
    if options.table is not None:
        write_table(options.out, options.table)


def measure(options: argparse.Namespace, name: str, share: str) -> None:
    """Measure what is not measured yet of one model at one share of zeros."""
    stem = options.out / f"{name}-{share}"
    path = stem.with_name(f"{stem.name}.json")
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    found |= {"model": name, "share": float(share)}
    model = zoo.load(name, options.zoo)
    for word in WORDS:
        if word not in found:
            cpu = _cpu_seconds()
            made = make(options, model.path, stem, word)
            seconds = round(_cpu_seconds() - cpu)
            found[word] = figures(model, made, stem) | {"cpu_seconds": seconds}
            if word in ("zeros", "joint"):
                found[word] |= {"samples": options.samples, "effort": options.effort}
            path.write_text(json.dumps(found, indent=1) + "\n")
            shown = {key: value for key, value in found[word].items() if key != "hits"}
            print(name, share, word, shown, flush=True)


def make(options: argparse.Namespace, dense: Path, stem: Path, word: str) -> Path:
    """Return the file of one way, which is made if it is none yet."""
    path = stem.with_name(f"{stem.name}-{word}.onnx")
    if word == "dense":
        return dense
    if path.is_file():
        return path
    if word == "after":
        round_afterwards(stem.with_name(f"{stem.name}-zeros.onnx"), path)
        return path
    name, share = stem.name.rsplit("-", 1)
    shared = ["-s", share, "--allocation", "uniform", "--samples", options.samples]
    shared += ["--effort", options.effort, "-d", options.zoo / f"{name}_calibration.npz"]
    form = ["--values", "int8", "--format", "packed"] if word == "joint" else []
    lobs("prune", dense, *shared, *form, "-o", path)
    return path


def figures(model: zoo.ZooModel, path: Path, stem: Path) -> dict[str, Any]:
    """Return score, hits, output error and size of a file.

    int8 weights are made float when the file is loaded, as those that were rounded afterwards
    are; ``score_as_it_is`` is with onnxruntime's own options, by which it multiplies in 8 bits.
    """
    hits = np.asarray(model.hits(open_float(path)))
    found: dict[str, Any] = {"score": float(hits.mean())}
    if path.stem.endswith("joint"):  # the others hold floats
        found["score_as_it_is"] = model.score(open_session(path))
    if path != model.path:
        samples = test_inputs(model, stem.with_name(f"{model.name}-inputs.npz"))
        found["error"] = lobs("evaluate", model.path, path, "-d", samples)["error"]
    found["size"] = path.stat().st_size / model.path.stat().st_size
    found["hits"] = "".join(str(int(hit)) for hit in hits)
    return found


def open_float(path: Path) -> ort.InferenceSession:
    """Open a file so that onnxruntime makes int8 weights float when it loads them."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def test_inputs(model: zoo.ZooModel, path: Path) -> Path:
    """Write the test samples without what the score needs besides, and return the file."""
    names = [each.name for each in open_session(model.path).get_inputs()]
    np.savez(path, **{name: model.test[name] for name in names})  # type: ignore[arg-type]
    return path


def lobs(*arguments: object) -> Any:
    """Run the program and return its record."""
    command = [sys.executable, "-m", "onnx_lobs", *map(str, arguments), "--json"]
    command += ["--overwrite"] if arguments[0] == "prune" else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def round_afterwards(path: Path, output: Path) -> None:
    """Write a pruned model with weights rounded as onnxruntime does it, a scale for each output."""
    loaded = load_model(path)
    model = Model(loaded.proto, loaded.folder)
    layers, _ = find_layers(model, LayerFilter(depthwise=True))
    for layer in layers:
        tensor = model.constant(model.scopes[layer.scope], layer.weight)
        assert tensor is not None
        array = model.value(tensor)
        axis = output_axis(layer, array.shape, 13).axis
        parts = [array] if axis is None else np.split(array, array.shape[axis], axis)
        rounded = []
        for part in parts:
            *_, scale, codes = quantize_data(part, TensorProto.INT8, symmetric=True)
            rounded.append(codes.astype(np.float32) * np.float32(scale))
        joined = rounded[0] if axis is None else np.concatenate(rounded, axis)
        model.write(tensor, joined.astype(array.dtype).reshape(array.shape))
    save_model(loaded.proto, output, folder=loaded.folder, overwrite=True)


def write_table(out: Path, folder: Path) -> None:
    """Write all that was measured, without the hits of single samples."""
    pairs = [json.loads(path.read_text()) for path in sorted(out.glob("*-0.[0-9]*.json"))]
    pairs = [pair for pair in pairs if all(word in pair for word in WORDS)]
    lines = [
        "# Zeros and int8 found together, and int8 afterwards",
        "",
        "Made by `tools/bench_int8.py`; see its head. Scores in percent, in brackets the output",
        "error on the test samples; differences in points with the standard error of the",
        "difference over the same samples.",
        "",
        "| model | zeros | dense | zeros, fp32 | joint int8 | int8 afterwards "
        "| joint - afterwards | joint - fp32 | packed int8 file x | samples, effort |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *map(_line, pairs),
        "",
        *_verdicts(pairs),
    ]
    (folder / "bench_int8.md").write_text("\n".join(lines) + "\n")
    kept = [{key: _without_hits(value) for key, value in pair.items()} for pair in pairs]
    (folder / "bench_int8.json").write_text(json.dumps(kept, indent=1) + "\n")


def _line(pair: Mapping[str, Any]) -> str:
    """Return one line of the table."""
    scores = [f"{100 * pair['dense']['score']:.2f}"]
    scores += [f"{100 * pair[w]['score']:.2f} ({pair[w]['error']:.4f})" for w in WORDS[1:]]
    joint = pair["joint"]
    return (
        f"| {pair['model']} | {pair['share']:.0%} | {' | '.join(scores)} "
        f"| {_difference(pair, 'after')} | {_difference(pair, 'zeros')} | {joint['size']:.3f} "
        f"| {joint['samples']}, {joint['effort']}{pair.get('note', '')} |"
    )


def _difference(pair: Mapping[str, Any], other: str) -> str:
    """Return in points by how much the joint way is better, with its standard error."""
    own, others = (np.array(list(pair[word]["hits"]), float) for word in ("joint", other))
    lost = 100 * (own - others)
    return f"{lost.mean():+.2f} ± {lost.std(ddof=1) / np.sqrt(lost.size):.2f}"


def _verdicts(pairs: list[dict[str, Any]]) -> list[str]:
    """Return how many pairs keep each promise."""
    gains = [pair["joint"]["score"] - pair["after"]["score"] for pair in pairs]
    costs = [pair["zeros"]["score"] - pair["joint"]["score"] for pair in pairs]
    sizes = [pair["joint"]["size"] for pair in pairs if pair["share"] >= LARGE]
    errors = [pair["joint"]["error"] - pair["after"]["error"] for pair in pairs]
    return [
        f"Score at least that of int8 afterwards: {sum(g >= 0 for g in gains)} of {len(pairs)}; "
        f"output error at most its: {sum(e <= 0 for e in errors)}.",
        f"At most {100 * ALLOWED:g} points below the same share of zeros in fp32: "
        f"{sum(c <= ALLOWED for c in costs)} of {len(pairs)}.",
        f"Files of at most {ALLOWED_SIZE} of the dense one at {LARGE:.0%} zeros: "
        f"{sum(s <= ALLOWED_SIZE for s in sizes)} of {len(sizes)}.",
    ]


def _without_hits(value: Any) -> Any:
    return {k: v for k, v in value.items() if k != "hits"} if isinstance(value, dict) else value


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
