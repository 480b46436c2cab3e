"""LSTM, GRU and RNN in C: float32 as onnxruntime, integers near it and as NumPy, bit for bit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import helper
from targets_c import BYTE_ERROR, COMPILER, FLOAT_ERROR, exported, run_check, samples, sparse

from onnx_lobs.arrays import Array
from onnx_lobs.errors import DataError, ModelError
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.targets.c.agreement import compare
from onnx_lobs.targets.c.emit import write_files
from onnx_lobs.targets.c.network import Network, read_network
from onnx_lobs.targets.c.steps.gate_product import gate_scale
from onnx_lobs.targets.c.steps.gates import ONE, SUM_REACH, WHOLE
from onnx_lobs.targets.c.steps.recurrent import Recurrent

ARM = shutil.which("arm-none-eabi-gcc")
STEPS = 1.5 / ONE  # of a sigmoid: half a step of the table's values, and one that is cut off
CHORD = 6**-1 * 3**-0.5 / 16**2 / 8  # over a 16th, by the largest second derivative, 6^-1 3^-.5
TAIL = 1 / (1 + np.exp(8))  # what is left beyond the table
TIMES, COLUMNS, UNITS = 7, 11, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ALL = ("all", "last", "cell")


def recurrent(
    op: str,
    outputs: tuple[str, ...] = ("all", "last"),
    *,
    directions: int = 1,
    share: float = 0.6,
    times: int = TIMES,
    scale: float = 0.5,
    batch: int = 1,
    starts: str = "",
    **about: Any,
) -> Network:
    """A node with sparse weights; `starts` are constant or computed first states."""
    rows = GATES[op] * UNITS
    weights: dict[str, Array] = {
        "w": scale * sparse(normal(1, directions, rows, COLUMNS), share),
        "r": scale * sparse(normal(2, directions, rows, UNITS), share),
        "b": 0.3 * normal(3, directions, 2 * rows),
    }
    shape, inputs = (directions, 1, UNITS), [value("x", (times, batch, COLUMNS))]
    names = ["x", "w", "r", "b", "", "", ""]
    for place, name in ((5, "h"), (6, "c")) if starts else ():
        if op == "LSTM" or name == "h":
            names[place] = name
            if starts == "constant":
                weights[name] = 0.7 * normal(place, *shape)
            else:
                inputs.append(value(name, shape))
    made = [name if name in outputs else "" for name in ALL[: 3 if op == "LSTM" else 2]]
    node = helper.make_node(
        op, names[: 7 if op == "LSTM" else 6], made, name=f"the {op}", hidden_size=UNITS, **about
    )
    proto = model([node], inputs, list(outputs), weights, opset=17)
    return read_network(load_model(proto), {})


CASES = {
    "lstm": recurrent("LSTM"),
    "lstm, all": recurrent("LSTM", ("all",)),
    "lstm, last": recurrent("LSTM", ("last",)),
    "lstm, cell": recurrent("LSTM", ("cell",)),
    "lstm, last and cell": recurrent("LSTM", ("last", "cell")),
    "lstm, everything": recurrent("LSTM", ALL, direction="reverse"),
    "lstm, both directions": recurrent("LSTM", ALL, directions=2, direction="bidirectional"),
    "lstm, both directions, last": recurrent(
        "LSTM", ("last", "cell"), directions=2, direction="bidirectional"
    ),
    "lstm, constant start": recurrent("LSTM", starts="constant"),
    "lstm, computed start": recurrent("LSTM", ALL, starts="computed"),
    "lstm, computed starts of both": recurrent(
        "LSTM", ALL, starts="computed", directions=2, direction="bidirectional"
    ),
    "lstm, few zeros": recurrent("LSTM", share=0.05),
    "lstm, many zeros": recurrent("LSTM", share=0.93),
    "lstm, one step": recurrent("LSTM", ("last", "cell"), times=1, starts="computed"),
    "gru": recurrent("GRU"),
    "gru, all": recurrent("GRU", ("all",), direction="reverse"),
    "gru, last": recurrent("GRU", ("last",), direction="reverse"),
    "gru, linear": recurrent("GRU", linear_before_reset=1),
    "gru, both directions": recurrent("GRU", directions=2, direction="bidirectional"),
    "gru, linear, both directions": recurrent(
        "GRU", ("last",), directions=2, direction="bidirectional", linear_before_reset=1
    ),
    "gru, constant start": recurrent("GRU", starts="constant"),
    "gru, linear, computed start": recurrent("GRU", starts="computed", linear_before_reset=1),
    "gru, many zeros": recurrent("GRU", share=0.93),
    "rnn": recurrent("RNN"),
    "rnn, both directions": recurrent("RNN", directions=2, direction="bidirectional"),
    "rnn, computed start": recurrent("RNN", ("last",), starts="computed"),
}


@pytest.mark.parametrize("name", CASES)
def test_float_code_computes_what_onnxruntime_does(name: str) -> None:
    made = exported(CASES[name], "fp32")
    assert compare(CASES[name], made.program, samples(CASES[name], seed=50)).error < FLOAT_ERROR


@pytest.mark.parametrize("name", CASES)
def test_integer_code_is_as_near_as_bytes_allow(name: str) -> None:
    made = exported(CASES[name], "int8")
    assert compare(CASES[name], made.program, samples(CASES[name])).error < BYTE_ERROR


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")
@pytest.mark.parametrize("values", ["int8", "fp32"])
@pytest.mark.parametrize("name", CASES)
def test_compiled_code_gives_what_numpy_does(name: str, values: str, tmp_path: Path) -> None:
    found = run_check(exported(CASES[name], values, "speed").files, tmp_path)
    assert found.stdout == "0 of 8 samples differ\n", found.stderr


def test_sigmoids_of_whole_numbers_are_near() -> None:
    whole = np.rint(np.linspace(-12, 12, 100_001) * ONE).astype(np.int64)
    v = whole / ONE
    error = np.abs(WHOLE.sigmoid(whole) / ONE - 1 / (1 + np.exp(-v)))
    assert error[np.abs(v) < 8].max() < CHORD + STEPS < 7e-5
    assert error.max() < TAIL + STEPS < 3.6e-4
    assert np.abs(WHOLE.tanh(whole) / ONE - np.tanh(v)).max() < 2 * (TAIL + STEPS)


@pytest.mark.parametrize("reach", [1e-7, 1e-3, 0.6, 1.0, 900.0])
def test_sums_are_scaled_to_a_step_or_a_65536th(reach: float) -> None:
    rng = np.random.default_rng(0)
    real = reach * rng.random(50)
    real[0] = reach
    sums = rng.integers(-(2**20), 2**20, 50)
    error = gate_scale("the node", real).apply(sums) - np.clip(sums * real, -SUM_REACH, SUM_REACH)
    step = max(2 * reach, 1.0)  # at most: a power of two, or a whole number; it is cut off
    assert np.all(np.abs(error) <= step + np.abs(sums) * reach * 2.0**-16)


def test_sums_far_beyond_gates_are_refused() -> None:
    with pytest.raises(DataError, match=r"'the node' scales sums by 2e\+06 .* at most 1,048,576"):
        gate_scale("the node", np.array([2e6]))


def test_rows_of_one_weight_lose_nothing() -> None:
    """A lone weight is one step of its row; its sums would be a step of the vector each."""
    lone = np.zeros((1, 3 * UNITS, UNITS), np.float32)
    lone[:, np.arange(3 * UNITS), np.arange(3 * UNITS) % UNITS] = 1.5
    weights = {"w": 0.3 * normal(1, 1, 3 * UNITS, COLUMNS), "r": lone}
    node = helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=UNITS, name="the GRU")
    proto = model([node], [value("x", (TIMES, 1, COLUMNS))], ["y"], weights, opset=17)
    made = read_network(load_model(proto), {})
    (step,) = exported(made, "int8").program.steps
    assert isinstance(step, Recurrent)
    parts = step.directions[0].products[1:]
    assert all(np.abs(p.rows).max(axis=1).min() == 127 for p in parts)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_a_state_that_hardly_moves_is_not_rounded_away(op: str) -> None:
    """Gates near 0 and 1 move the state by less than a byte's step, 600 times."""
    gate = {"LSTM": [-6.0, 3.0, 7.0, 1.0], "GRU": [6.0, 0.0, 1.0]}[op]  # LSTM: in, out, forget
    n = GATES[op] * UNITS
    about = {
        "w": 0.01 * normal(1, 1, n, COLUMNS),
        "r": 0.01 * normal(2, 1, n, UNITS),
        "b": np.concatenate([np.repeat(gate, UNITS), np.zeros(n)])[None].astype(np.float32),
    }
    node = helper.make_node(op, ["x", "w", "r", "b"], ["", "y"], hidden_size=UNITS, name="the node")
    proto = model([node], [value("x", (600, 1, COLUMNS))], ["y"], about, opset=17)
    slow = read_network(load_model(proto), {})
    few = samples(slow, 3)
    program = exported(slow, "int8", data=few).program
    assert compare(slow, program, few).error < BYTE_ERROR


def test_all_vectors_are_kept_only_where_they_are_read() -> None:
    sizes = [exported(CASES[f"lstm, {which}"], "int8").program for which in ("all", "last")]
    assert [program.steps[0].output.size for program in sizes] == [TIMES * UNITS, UNITS]


def test_products_of_all_steps_are_counted() -> None:
    made = CASES["gru, both directions"]
    n = sum(int(np.count_nonzero(made.constants[name])) for name in ("w", "r"))
    assert exported(made, "fp32").program.multiplications == TIMES * n


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"activations": ["HardSigmoid", "Tanh"]}, "activations are HardSigmoid, Tanh; only"),
        ({"clip": 3.0}, "its sums are clipped"),
        ({"input_forget": 1}, "its input and forget gates are one"),
        ({"batch": 2}, "only one sample at a time is written"),
    ],
)
def test_cells_without_code_are_named(about: dict[str, Any], message: str) -> None:
    op = "LSTM" if "input_forget" in about else "GRU"
    with pytest.raises(ModelError, match=f"{op} 'the {op}' has no C code: .*{message}"):
        exported(recurrent(op, **about), "fp32")


def test_samples_in_front_of_time_are_refused() -> None:
    """Those versions of onnxruntime that are known load no such model."""
    made = recurrent("GRU")
    made.nodes[0].attribute.append(helper.make_attribute("layout", 1))
    with pytest.raises(ModelError, match="'the GRU' has no C code: only the layout 0 is written"):
        exported(made, "fp32", data=[])


@pytest.mark.parametrize(
    ("place", "array", "message"),
    [
        (4, np.array([TIMES - 1], np.int32), f"end before the {TIMES} steps"),
        (7, np.ones((1, 3 * UNITS), np.float32), "it has peepholes"),
    ],
)
def test_inputs_without_code_are_named(place: int, array: Array, message: str) -> None:
    names = ["x", "w", "r", *[""] * 5]
    names[place] = "given"
    weights = {
        "w": normal(1, 1, 4 * UNITS, COLUMNS),
        "r": normal(2, 1, 4 * UNITS, UNITS),
        "given": array,
    }
    node = helper.make_node("LSTM", names, ["y"], hidden_size=UNITS, name="the LSTM")
    proto = model([node], [value("x", (TIMES, 1, COLUMNS))], ["y"], weights, opset=17)
    made = read_network(load_model(proto), {})
    with pytest.raises(ModelError, match=f"LSTM 'the LSTM' has no C code: .*{message}"):
        exported(made, "fp32")


def test_gates_whose_sums_leave_32_bits_are_refused() -> None:
    columns = 70_000  # 127 * 127 * 70,000 is more than 2^30
    weights = {
        "w": np.ones((1, UNITS, columns), np.float32),
        "r": np.zeros((1, UNITS, UNITS), np.float32),
    }
    weights["w"][:, :, 0] = 1 / 127  # the others take 127 steps
    node = helper.make_node("RNN", ["x", "w", "r"], ["y"], hidden_size=UNITS, name="the RNN")
    proto = model([node], [value("x", (1, 1, columns))], ["y"], weights, opset=17)
    made = read_network(load_model(proto), {})
    with pytest.raises(ModelError, match=r"RNN 'the RNN' sums up to 1,\d{3},.*--values fp32"):
        exported(made, "int8", data=samples(made, 1))


def test_states_beyond_32_bits_are_refused() -> None:
    made = recurrent("LSTM", times=40_000)
    with pytest.raises(ModelError, match=r"may reach 40,000, and 32 bits hold 32,767.*fp32"):
        exported(made, "int8", data=samples(made, 1))


@pytest.mark.slow
@pytest.mark.skipif(ARM is None, reason="no compiler for Cortex-M4 is installed")
@pytest.mark.parametrize("name", CASES)
def test_flash_is_estimated_from_above(name: str, tmp_path: Path) -> None:
    files = exported(CASES[name], "int8", "speed").files
    write_files(files, tmp_path)
    flags = ["-mcpu=cortex-m4", "-mthumb", "-O2", "-std=c99", "-c", "net.c"]
    subprocess.run([str(ARM), *flags], cwd=tmp_path, check=True)
    size = [str(ARM).removesuffix("gcc") + "size", "net.o"]
    words = subprocess.run(size, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    text, data = map(int, words.splitlines()[1].split()[:2])
    assert text + data <= files.table_bytes + files.code_bytes
