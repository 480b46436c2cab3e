"""The command line: verbs, options, exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnx_lobs
import onnx_lobs.verbs.inspect
import onnx_lobs.verbs.prune
from onnx_lobs.cli.main import main, with_verb
from onnx_lobs.errors import ConfigError, DataError, LobsError, ModelError, SolverError
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.how import METHOD_NAMES
from onnx_lobs.options.prose import flags_of
from onnx_lobs.report.lines import Lines
from onnx_lobs.report.record import FileWeights, LayerRecord, OutputRecord, Report, Totals
from onnx_lobs.solvers import METHODS
from onnx_lobs.verbs.inspect import Inspection, LayerRow

REPORT = Report(
    model="m.onnx",
    options={"storage": "dense"},
    data="synthetic inputs",
    layers=(LayerRecord("fc1", "Gemm", 200, 150, 0.01, 0.08, "solved", 1.5),),
    skipped=(),
    totals=Totals(200, 150, 2.0),
    output=OutputRecord(0.02),
    warnings=("random inputs\nwere used",),
    output_path="m_pruned.onnx",
)
INSPECTION = Inspection(
    "m.onnx", 17, 8, "", 10, (LayerRow("fc1", "Gemm", (8, 8), "float32", 1, 8, 8, 64, 0, 1),), (),
    FileWeights(64, 64, {}),
)  # fmt: skip

PROGRESS = re.compile(r"opening|\d of \d")  # lines of stages


@dataclass
class Ran:
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "100")

    def run(*args: str | Path) -> Ran:
        with pytest.raises(SystemExit) as exit_:
            main([str(arg) for arg in args])
        assert isinstance(exit_.value.code, int)
        out, err = capfd.readouterr()
        told = [line for line in err.splitlines(keepends=True) if not PROGRESS.match(line)]
        return Ran(exit_.value.code, out, "".join(told))

    return run


class Pipeline:
    """A stand-in for the pipeline that notes its calls."""

    def __init__(self) -> None:
        self.report = REPORT
        self.inspection = INSPECTION
        self.error: BaseException | None = None
        self.calls: list[dict[str, Any]] = []
        self.known_before: tuple[str, ...] = ()

    def prune_file(self, path: Path, output: Path, config: PruneConfig, **rest: Any) -> Report:
        self.calls.append({"path": path, "output": output, "config": config, **rest})
        for text in self.known_before:
            rest["warn"](text)
        if self.error is not None:
            raise self.error
        return self.report

    def inspect(self, path: Path, config: PruneConfig, data: str | None = None) -> Inspection:
        self.calls.append({"path": path, "config": config})
        return self.inspection


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    fake = Pipeline()
    monkeypatch.setattr(onnx_lobs.verbs.prune, "prune_file", fake.prune_file)
    monkeypatch.setattr(onnx_lobs.verbs.inspect, "inspect", fake.inspect)
    return fake


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file with one Gemm of 16 x 8 weights."""
    weight = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["x", "w"], ["y"], "fc", transB=1)],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 8])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 16])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    proto.ir_version = 8
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    return path


def config_of(run: Run, pipeline: Pipeline, *args: str) -> PruneConfig:
    ran = run("m.onnx", *args)
    assert (ran.code, ran.err) == (0, "")
    config = pipeline.calls[-1]["config"]
    assert isinstance(config, PruneConfig)
    return config


@pytest.mark.parametrize("verb", [(), ("prune",)])
def test_a_model_alone_is_pruned_to_a_file_beside_it(
    run: Run, pipeline: Pipeline, verb: tuple[str, ...]
) -> None:
    assert run(*verb, "a/m.onnx").code == 0
    (call,) = pipeline.calls
    assert call["path"] == Path("a/m.onnx")
    assert call["output"] == Path("a/m_pruned.onnx")
    assert call["config"] == PruneConfig()
    assert (call["data"], call["test"], call["overwrite"]) == (None, None, False)


def test_options_may_come_before_the_model(run: Run, pipeline: Pipeline) -> None:
    assert run("-s", "0.8", "m.onnx").code == 0
    assert pipeline.calls[0]["config"].sparsity == 0.8


@given(st.lists(st.text()), st.sets(st.text()))
def test_a_verb_is_put_first_unless_there_is_one(args: list[str], verbs: set[str]) -> None:
    found = with_verb(args, verbs)
    assert found in (args, ["prune", *args])
    assert not args or found[0] in {"prune", "-h", "--help", "--version"} | verbs


@pytest.mark.parametrize(
    ("args", "field", "value"),
    [
        ("-s 0.8", "sparsity", 0.8),
        ("--sparsity 0.8", "sparsity", 0.8),
        ("--layer-sparsity *a*=0.7", "layer_sparsity", {"*a*": 0.7}),
        ("--layer-sparsity re:a=b=0", "layer_sparsity", {"re:a=b": 0.0}),
        ("--layer-min *a*=0.2", "layer_min", {"*a*": 0.2}),
        ("--layer-max *=0.9", "layer_max", {"*": 0.9}),
        ("--method lobs", "method", "lobs"),
        ("--refit", "refit", True),
        ("--no-refit", "refit", False),
        ("--allocation erk", "allocation", "erk"),
        ("--include a --include b", "include", ("a", "b")),
        ("--exclude a", "exclude", ("a",)),
        ("--op-types Conv,Gemm", "op_types", ("Conv", "Gemm")),
        ("--min-weights 7", "min_weights", 7),
        ("--damp 1e-2", "damp", 0.01),
        ("--sequential", "sequential", True),
        ("--independent", "sequential", False),
        ("--samples 9", "samples", 9),
        ("--batch-size 9", "batch_size", 9),
        ("--seed 3", "seed", 3),
        ("--provider cuda", "provider", "cuda"),
        ("--format sparse", "storage", "sparse"),
        ("--input-shape a:0:1x3", "input_shapes", {"a:0": (1, 3)}),
    ],
)
def test_an_option_sets_its_field_and_no_other(
    run: Run, pipeline: Pipeline, args: str, field: str, value: object
) -> None:
    config = config_of(run, pipeline, *args.split())
    assert getattr(config, field) == value
    assert replace(config, **{field: getattr(PruneConfig(), field)}) == PruneConfig()


def test_every_field_of_the_config_has_an_option(run: Run) -> None:
    shown = run("prune", "--help-all").out
    for option in OPTIONS.values():
        assert f"{flags_of(option)[-1].split('/')[0]} " in shown


def test_a_glob_given_again_moves_to_the_end(run: Run, pipeline: Pipeline) -> None:
    args = ("--layer-sparsity", "a=0.1", "--layer-sparsity", "b=0.2", "--layer-sparsity", "a=0.3")
    config = config_of(run, pipeline, *args)
    assert list(config.layer_sparsity.items()) == [("b", 0.2), ("a", 0.3)]


def test_files_are_passed_on(run: Run, pipeline: Pipeline) -> None:
    assert run("m.onnx", "-o", "o.onnx", "-d", "d", "--test", "t.npz", "--overwrite").code == 0
    call = pipeline.calls[0]
    assert call["output"] == Path("o.onnx")
    assert (call["data"], call["test"], call["overwrite"]) == ("d", "t.npz", True)


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ("m.onnx -s 80", "sparsity is 80.0; it must be at least 0 and below 1; for 80 %"),
        ("m.onnx --layer-sparsity 0.7", "layer sparsity '0.7' is not understood; write GLOB=0.7"),
        ("m.onnx --layer-sparsity a=b", "layer sparsity 'a=b' is not understood"),
        ("m.onnx --layer-max 0.7", "layer max '0.7' is not understood; write GLOB=0.7"),
        ("m.onnx --layer-min a=1", "layer min of 'a' is 1.0; it must be"),
        ("m.onnx --layer-sparsity a=1", "layer sparsity of 'a' is 1.0; it must be"),
        ("m.onnx --input-shape x", "input shape 'x' is not understood"),
        ("m.onnx --positions some", "positions 'some' is not understood; write a number such as"),
        ("m.onnx --positions 0", "positions is 0; it must be at least 1"),
        ("m.onnx --op-types ,", "no op types were given; choose from Conv,"),
        ("m.onnx --op-types Add", "op type 'Add' is unknown; choose one of Conv"),
        ("m.onnx --format zip", "format 'zip' is unknown; choose one of dense, sparse"),
        (
            "m.onnx --report r.pdf",
            "report 'r.pdf' has an unknown form; name it .html, .md or .json",
        ),
        ("m.onnx --samples few", "Invalid value for '--samples'"),
        ("m.onnx --nonsense", "No such option: --nonsense"),
        ("m.onnx --device cuda", "No such option: --device; did you mean --provider?; see"),
        ("m.onnx --target cuda", "target 'cuda' is unknown; choose one of onnxruntime, openvino"),
        ("m.onnx --ratio 0.5", "No such option: --ratio; did you mean --sparsity?; see"),
        ("m.onnx -s much", "sparsity 'much' is not understood; write a number such as 0.8 or 80%"),
        ("m.onnx --method sparsgpt", "method 'sparsgpt' is unknown; did you mean 'sparsegpt'?"),
        ("m.onnx n.onnx", "prune takes one model, and 'm.onnx' and 'n.onnx' were given"),
        ("inspect", "Missing argument 'MODEL'; see onnx-lobs inspect --help"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(
    run: Run, pipeline: Pipeline, args: str, match: str
) -> None:
    ran = run(*args.split())
    assert (ran.code, ran.out, pipeline.calls) == (2, "", [])
    assert ran.err.startswith(f"error: {match}")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (LobsError("nothing to prune"), 1, "error: nothing to prune"),
        (ConfigError("out of range"), 2, "error: out of range"),
        (ModelError("two\n  lines"), 3, "error: two lines"),
        (DataError("no data"), 4, "error: no data"),
        (SolverError("singular"), 4, "error: singular"),
        (MemoryError(), 4, "error: out of memory; use fewer --samples or a smaller --batch-size"),
        (KeyboardInterrupt(), 130, "error: interrupted; nothing half-written is left"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(
    run: Run, pipeline: Pipeline, error: BaseException, code: int, line: str
) -> None:
    pipeline.error = error
    ran = run("m.onnx")
    assert (ran.code, ran.out, ran.err) == (code, "", f"{line}\n")


def test_an_unforeseen_error_is_not_hidden(pipeline: Pipeline) -> None:
    pipeline.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main(["m.onnx"])


def test_a_run_that_pruned_nothing_is_a_valid_no(run: Run, pipeline: Pipeline) -> None:
    pipeline.report = replace(REPORT, layers=())
    assert run("m.onnx").code == 1


def test_the_report_goes_to_stdout_and_a_pipe_gets_lines_without_color(
    run: Run, pipeline: Pipeline
) -> None:
    ran = run("m.onnx")
    assert "fc1" in ran.out
    assert "were used" in ran.out
    assert (ran.err, "\x1b" in ran.out) == ("", False)
    assert isinstance(pipeline.calls[0]["progress"], Lines)


def test_json_is_all_there_is_on_stdout(run: Run, pipeline: Pipeline) -> None:
    ran = run("m.onnx", "--json")
    command = ("onnx-lobs", "prune", "m.onnx", "--seed", "0", "--json")
    assert ran.out == f"{replace(REPORT, command=command).to_json()}\n"
    assert ran.err == "warning: random inputs were used\n"


def test_quiet_leaves_the_warnings(run: Run, pipeline: Pipeline) -> None:
    ran = run("m.onnx", "-q")
    assert (ran.out, ran.err) == ("", "warning: random inputs were used\n")


@pytest.mark.parametrize("option", [(), ("--json",), ("-q",)])
def test_what_is_known_before_is_told_once_and_in_front(
    run: Run, pipeline: Pipeline, option: tuple[str, ...]
) -> None:
    pipeline.known_before = ("few [of] samples, at\nlength " + 50 * "and more ",)
    pipeline.report = replace(REPORT, warnings=(*pipeline.known_before, "late"))
    early, *late = run("m.onnx", *option).err.splitlines()
    assert early == "warning: few [of] samples, at length " + " ".join(50 * ["and more"])
    assert late == (["warning: late"] if option else [])


def test_what_is_known_before_is_told_also_where_the_run_fails(
    run: Run, pipeline: Pipeline
) -> None:
    pipeline.known_before, pipeline.error = ("few samples",), DataError("no more")
    assert run("m.onnx").err == "warning: few samples\nerror: no more\n"


def test_the_record_is_written_besides(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert run("m.onnx", "--report", path).code == 0
    command = ("onnx-lobs", "prune", "m.onnx", "--seed", "0", "--report", str(path))
    assert path.read_text() == f"{replace(REPORT, command=command).to_json()}\n"
    ran = run("m.onnx", "--report", path)
    assert (ran.code, len(pipeline.calls)) == (2, 1)
    assert "exists; name another, or give --overwrite" in ran.err
    assert run("m.onnx", "--report", path, "--overwrite").code == 0


def test_color_comes_with_a_terminal_and_goes_with_the_option(
    run: Run, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes a pipe for a terminal
    monkeypatch.setenv("TERM", "xterm-256color")
    yellow = "\x1b[1;33m"
    assert yellow in run("m.onnx").out
    assert yellow not in run("m.onnx", "--no-color").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert yellow not in run("m.onnx").out


def test_a_dry_run_tells_what_would_be_done_and_writes_nothing(run: Run, model: Path) -> None:
    before = sorted(model.parent.iterdir())
    ran = run(model, "--dry-run", "--op-types", "Gemm", "-s", "75%")
    assert ran.code == 0
    assert "1 layers, 128 prunable weights" in ran.out
    for words in ("128 weights in 1 layers, 75.0 % to zero", "of the dense model", "nothing was"):
        assert words in " ".join(ran.out.split())
    assert sorted(model.parent.iterdir()) == before
    record = json.loads(run(model, "--dry-run", "--json").out)
    assert (record["weights"], record["zeros"], record["most_runs"]) == (128, 64, 1)


def test_inspect_lists_even_nothing_but_a_dry_run_of_nothing_is_a_no(
    run: Run, pipeline: Pipeline, model: Path
) -> None:
    assert json.loads(run("inspect", "m.onnx", "--json").out)["layers"][0]["shape"] == [8, 8]
    pipeline.inspection = replace(INSPECTION, layers=())
    assert run("inspect", "m.onnx").code == 0
    ran = run(model, "--dry-run", "--min-weights", "1000")
    assert ran.code == 1
    assert "nothing to prune" in ran.err


def test_inspect_says_no_where_an_asked_pattern_is_not_met(run: Run, model: Path) -> None:
    assert run("inspect", model).code == 0
    ran = run("inspect", model, "--pattern", "2:4")
    assert ran.code == 1
    assert "1 of 1 layers do NOT keep to 2:4" in ran.out
    assert json.loads(run("inspect", model, "--pattern", "2:4", "--json").out)["is_met"] is False


def test_no_arguments_show_the_help_and_are_an_error(run: Run) -> None:
    ran = run()
    assert ran.code == 2
    assert ran.out == run("--help").out
    assert "inspect" in ran.out


def test_the_help_names_every_method(run: Run) -> None:
    text = " ".join(run("prune", "--help-all").out.replace("│", " ").split())
    assert ", ".join(METHOD_NAMES) in text
    assert sorted(METHOD_NAMES) == sorted(METHODS)


def test_a_real_model_is_pruned_and_inspected(run: Run, model: Path) -> None:
    ran = run(model, "-s", "0.75", "--json")
    record = json.loads(ran.out)
    assert ran.code == 0
    assert ran.err.startswith("warning: ")
    assert record["totals"]["zeros"] == 96
    output = model.with_name("m_pruned.onnx")
    found = json.loads(run("inspect", output, "--json").out)
    assert [layer["zeros"] for layer in found["layers"]] == [96]


def test_real_failures_have_their_codes_and_leave_no_file(run: Run, model: Path) -> None:
    damaged = model.with_name("d.onnx")
    damaged.write_bytes(b"\x00\x01 no model")
    before = sorted(model.parent.iterdir())
    calls = {
        1: (model, "--min-weights", "1000"),
        2: (model, "--method", "guess"),
        3: (damaged,),
        4: (model, "-d", model.with_name("gone.npz")),
    }
    for code, args in calls.items():
        ran = run(*args)
        assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert run(model, "-o", damaged).code == 2
    assert sorted(model.parent.iterdir()) == before


@pytest.mark.parametrize("verb", ["prune", "inspect"])
def test_a_model_that_is_not_there_has_code_3(run: Run, tmp_path: Path, verb: str) -> None:
    ran = run(verb, tmp_path / "gone.onnx")
    assert (ran.code, ran.out, ran.err.count("\n")) == (3, "", 1)
    assert "gone.onnx does not exist" in ran.err


def test_python_m_tells_the_version(run: Run) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "onnx_lobs", "--version"],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(onnx_lobs.__file__).parents[1],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout == f"onnx-lobs {onnx_lobs.__version__}\n" == run("--version").out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, onnx_lobs.cli.main as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'onnx', 'onnxruntime', 'scipy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(onnx_lobs.__file__).parents[1],
    )
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(("given", "positions"), [([], 64), (["8"], 8), (["all"], None)])
def test_positions_are_a_number_or_all(
    run: Run, pipeline: Pipeline, given: list[str], positions: int | None
) -> None:
    run("m.onnx", *(["--positions", *given] if given else []))
    assert pipeline.calls[0]["config"].positions == positions


@pytest.mark.parametrize(
    ("args", "words", "code"),
    [
        (("--seed", "-1"), "seed is -1; it must be at least 0", 2),
        (("--positions", ""), "positions '' is not understood", 2),
    ],
)
def test_values_that_are_no_numbers_of_theirs_are_one_line(
    run: Run, model: Path, args: tuple[str, ...], words: str, code: int
) -> None:
    ran = run(str(model), *args)
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert words in ran.err


def test_a_folder_is_no_model(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(".")
    assert (ran.code, ran.err) == (3, "error: '.' is no file; name an ONNX model\n")


@pytest.mark.parametrize("text", ["0.8", "80%", "0,8", " 80 %"])
def test_a_sparsity_may_be_written_as_people_do(run: Run, pipeline: Pipeline, text: str) -> None:
    assert run("m.onnx", "-s", text).code == 0
    assert pipeline.calls[0]["config"].sparsity == 0.8


def test_case_does_not_matter_in_choices(run: Run, pipeline: Pipeline) -> None:
    args = (
        "--method",
        "SparseGPT",
        "--effort",
        "FAST",
        "--op-types",
        "gemm,CONV",
        "--score",
        "Top1",
    )
    assert run("m.onnx", *args).code == 0
    config = pipeline.calls[0]["config"]
    assert (config.method, config.effort, config.score) == ("sparsegpt", "fast", "top1")
    assert config.op_types == ("Gemm", "Conv")
