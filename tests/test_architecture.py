"""The arrows between the modules: two sides, no cycles, one printer, everything documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import onnx_lobs
from onnx_lobs import patterns
from onnx_lobs.allocation.rules import RULES
from onnx_lobs.layers.operators import OPERATORS
from onnx_lobs.options.how import METHOD_NAMES
from onnx_lobs.options.output import FORMATS as FORMAT_NAMES
from onnx_lobs.options.what import ALLOCATIONS, OP_TYPES, PATTERN_FORMS
from onnx_lobs.patterns import PATTERNS, Pattern
from onnx_lobs.solvers import METHODS
from onnx_lobs.storage.formats import FORMATS

ROOT = Path(onnx_lobs.__file__).parent
MODULES = sorted(
    ".".join(("onnx_lobs", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
)
ARRAY_SIDE = ("patterns", "linalg", "solvers", "allocation")
ONNX_SIDE = ("graph", "layers", "storage", "evaluation", "calibration")
FOREIGN = ("onnx", "onnxruntime", "onnx_graphsurgeon")
PRINTERS = ("onnx_lobs.cli.main", "onnx_lobs.__main__")
MOST_ENTRIES = 24  # at the top of the package: a newcomer reads them at a glance
MOST_LINES = 360  # of a file; tables of a format need more than the 300 aimed at


def source_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_of(module: str) -> Iterator[str]:
    """Yield every module that a module imports while it is loaded, in full."""
    for node in ast.parse(source_of(module).read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def members(side: tuple[str, ...]) -> list[str]:
    return [module for module in MODULES if module.split(".")[1:2] and module.split(".")[1] in side]


def reached(module: str) -> set[str]:
    """Return every module of the package that comes along when `module` is imported."""
    found: set[str] = set()
    pending = [module]
    while pending:
        for name in imports_of(pending.pop()):
            if name in MODULES and name not in found:
                found.add(name)
                pending.append(name)
    return found


@pytest.mark.parametrize("module", members(ARRAY_SIDE))
def test_array_side_knows_no_onnx(module: str) -> None:
    for name in {module} | reached(module):
        assert not {i.split(".")[0] for i in imports_of(name)} & set(FOREIGN), name


@pytest.mark.parametrize("module", members(ONNX_SIDE))
def test_onnx_side_knows_no_solver(module: str) -> None:
    assert not any(name.startswith("onnx_lobs.solvers") for name in reached(module))


@pytest.mark.parametrize("module", [m for m in MODULES if m.split(".")[1:2] != ["patterns"]])
def test_nobody_asks_which_pattern_it_is(module: str) -> None:
    classes = {
        name
        for name, thing in vars(patterns).items()
        if inspect.isclass(thing) and issubclass(thing, Pattern) and thing is not Pattern
    }
    for node in ast.walk(ast.parse(source_of(module).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            named = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            is_question = node.func.id in ("isinstance", "issubclass", "type")
            assert not (is_question and named & classes), node.lineno


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (sorted(OPERATORS), sorted(OP_TYPES)),
        (sorted(METHODS), sorted(METHOD_NAMES)),
        (list(FORMATS), list(FORMAT_NAMES)),
        (["auto", *RULES, "global"], list(ALLOCATIONS)),
        ([pattern.form for pattern in PATTERNS], list(PATTERN_FORMS)),
    ],
    ids=["operators", "methods", "formats", "allocations", "patterns"],
)
def test_options_name_what_the_tables_hold(table: list[str], names: list[str]) -> None:
    assert table == names  # written twice: the options load nothing heavy


def test_both_sides_exist() -> None:
    assert len(members(ARRAY_SIDE)) > len(ARRAY_SIDE)
    assert len(members(ONNX_SIDE)) > len(ONNX_SIDE)


@pytest.mark.parametrize("module", MODULES)
def test_no_module_reaches_itself(module: str) -> None:
    assert module not in reached(module)


def entries_by_folder() -> dict[str, dict[str, set[str]]]:
    """Return, per folder, which of its entries (files and folders) imports which others."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module in MODULES:
        for name in imports_of(module):
            one, other = module.split("."), name.split(".")
            shared = next(
                (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)),
            )
            if name in MODULES and shared < min(len(one), len(other)):
                found[".".join(one[:shared])][one[shared]].add(other[shared])
    return found


@pytest.mark.parametrize("folder", sorted(entries_by_folder()))
def test_no_circle_between_the_entries_of_a_folder(folder: str) -> None:
    imports = entries_by_folder()[folder]
    TopologicalSorter(imports).prepare()  # raises CycleError and names the circle


def test_few_entries_at_the_top() -> None:
    assert len([path for path in ROOT.iterdir() if path.name != "__pycache__"]) <= MOST_ENTRIES


def test_a_public_class_name_occurs_once() -> None:
    names = Counter(
        node.name
        for module in MODULES
        for node in ast.parse(source_of(module).read_text()).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("module", MODULES)
def test_names_of_array_types_are_defined_in_one_module(module: str) -> None:
    defined = re.findall(r"^(\w+) = (?:NDArray|np\.ndarray)\[", source_of(module).read_text(), re.M)
    assert module == "onnx_lobs.arrays" or not defined


@pytest.mark.parametrize("module", [m for m in MODULES if m not in PRINTERS])
def test_only_the_command_line_prints(module: str) -> None:
    calls = [
        n for n in ast.walk(ast.parse(source_of(module).read_text())) if isinstance(n, ast.Call)
    ]
    assert not [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


@pytest.mark.parametrize("module", MODULES)
def test_public_names_have_docstrings(module: str) -> None:
    loaded = importlib.import_module(module)
    text = source_of(module).read_text()
    assert loaded.__doc__ or not text.strip()
    for name, thing in vars(loaded).items():
        own = getattr(thing, "__module__", None) == module
        if (
            name.startswith("_")
            or not own
            or not (inspect.isclass(thing) or inspect.isfunction(thing))
        ):
            continue
        assert thing.__doc__, name
        methods = vars(thing).items() if inspect.isclass(thing) else ()
        for method, function in methods:
            if inspect.isfunction(function) and not method.startswith("_"):
                assert inspect.getdoc(function), f"{name}.{method}"


@pytest.mark.parametrize("module", MODULES)
def test_files_stay_small(module: str) -> None:
    assert len(source_of(module).read_text().splitlines()) <= MOST_LINES


def is_frozen(node: ast.ClassDef) -> bool:
    """Whether a class is a frozen dataclass."""
    return any("frozen=True" in ast.unparse(decorator) for decorator in node.decorator_list)


@pytest.mark.parametrize("module", MODULES)
def test_frozen_classes_are_written_only_while_they_are_made(module: str) -> None:
    tree = ast.parse(source_of(module).read_text())
    making = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__post_init__"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert node.attr != "__dict__", node.lineno
            assert node.attr != "__setattr__" or id(node) in making, node.lineno
        if isinstance(node, ast.ClassDef) and is_frozen(node):
            assert "cached_property" not in ast.unparse(node), node.name


@pytest.mark.parametrize("module", MODULES)
def test_no_property_is_read_for_its_side_effect(module: str) -> None:
    for node in ast.walk(ast.parse(source_of(module).read_text())):
        dropped = isinstance(node, ast.Expr) or (
            isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["_"]
        )
        assert not dropped or not isinstance(node.value, ast.Attribute), node.lineno


@pytest.mark.parametrize("module", MODULES)
def test_nothing_catches_every_exception(module: str) -> None:
    for node in ast.walk(ast.parse(source_of(module).read_text())):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, node.lineno
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
            assert not caught & {"Exception", "BaseException"}, node.lineno


def test_every_module_can_be_imported_alone() -> None:
    names = {info.name for info in pkgutil.walk_packages(onnx_lobs.__path__, "onnx_lobs.")}
    assert names | {"onnx_lobs"} == set(MODULES)
