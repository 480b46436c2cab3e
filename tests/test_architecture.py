"""The arrows between the modules: two sides, no cycles, one printer, everything documented.

A rule is one test over all modules: it lists all that break it, each with the place.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeVar, get_origin

import pytest

import onnx_lobs
from onnx_lobs import patterns
from onnx_lobs.allocation.rules import RULES
from onnx_lobs.layers.operators import OPERATORS
from onnx_lobs.options.how import METHOD_NAMES
from onnx_lobs.options.output import FORMATS as FORMAT_NAMES
from onnx_lobs.options.output import TARGETS
from onnx_lobs.options.retraining import MOVE_NAMES, OPTIMISER_NAMES, TOWARDS_NAMES
from onnx_lobs.options.what import ALLOCATIONS, OP_TYPES, PATTERN_FORMS
from onnx_lobs.patterns import PATTERNS, Pattern
from onnx_lobs.run.retraining.aims import TOWARDS
from onnx_lobs.run.retraining.moving import MOVES
from onnx_lobs.run.retraining.optimiser import OPTIMISERS
from onnx_lobs.solvers import METHODS
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.targets.runtimes import RUNTIMES

Node = TypeVar("Node", bound=ast.AST)

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
ARRAY_TYPE = r"^(\w+) = (?:NDArray|np\.ndarray)\["
MOST_LINES = 360  # of a file; tables of a format need more than the 300 aimed at


@cache
def source_of(module: str) -> str:
    path = ROOT.joinpath(*module.split(".")[1:])
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(source_of(module))


def find(module: str, kind: type[Node]) -> list[Node]:
    """Return all nodes of a kind in a module."""
    return [node for node in ast.walk(tree_of(module)) if isinstance(node, kind)]


@cache
def imports_of(module: str) -> frozenset[str]:
    """Return every module that a module imports while it is loaded, in full."""
    found = set()
    for node in tree_of(module).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in full}
    return frozenset(found)


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


def refuse(offenders: Iterable[str]) -> None:
    """Fail with one line for each offender, however many they are."""
    listed = list(offenders)
    assert not listed, "\n".join(["", *listed])


def test_array_side_knows_no_onnx() -> None:
    refuse(
        f"{module} reaches {name}, which imports {foreign}"
        for module in members(ARRAY_SIDE)
        for name in sorted({module} | reached(module))
        for foreign in sorted({i.split(".")[0] for i in imports_of(name)} & set(FOREIGN))
    )


def test_onnx_side_knows_no_solver() -> None:
    refuse(
        f"{module} reaches {name}"
        for module in members(ONNX_SIDE)
        for name in sorted(reached(module))
        if name.startswith("onnx_lobs.solvers")
    )


def test_nobody_asks_which_pattern_it_is() -> None:
    classes = {
        name
        for name, thing in vars(patterns).items()
        if get_origin(thing) is None  # Python 3.10 takes Callable[...] for a class
        and (inspect.isclass(thing) and issubclass(thing, Pattern) and thing is not Pattern)
    }
    refuse(
        f"{module}:{call.lineno}"
        for module in MODULES
        for call in find(module, ast.Call)
        if isinstance(call.func, ast.Name)
        and call.func.id in ("isinstance", "issubclass", "type")
        and classes & {n.id for n in ast.walk(call) if isinstance(n, ast.Name)}
        and module.split(".")[1:2] != ["patterns"]
    )


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (sorted(OPERATORS), sorted(OP_TYPES)),
        (sorted(METHODS), sorted(METHOD_NAMES)),
        (sorted(OPTIMISERS), sorted(OPTIMISER_NAMES)),
        (sorted(MOVES), sorted(MOVE_NAMES)),
        (sorted(TOWARDS), sorted(TOWARDS_NAMES)),
        (list(FORMATS), list(FORMAT_NAMES)),
        (list(RUNTIMES), list(TARGETS)),
        (["auto", *RULES, "global"], list(ALLOCATIONS)),
        ([pattern.form for pattern in PATTERNS], list(PATTERN_FORMS)),
    ],
    ids=[
        "operators",
        "methods",
        "optimisers",
        "moves",
        "aims",
        "formats",
        "targets",
        "allocations",
        "patterns",
    ],
)
def test_options_name_what_the_tables_hold(table: list[str], names: list[str]) -> None:
    assert table == names  # written twice: the options load nothing heavy


def test_both_sides_exist() -> None:
    assert len(members(ARRAY_SIDE)) > len(ARRAY_SIDE)
    assert len(members(ONNX_SIDE)) > len(ONNX_SIDE)


def test_no_module_reaches_itself() -> None:
    refuse(module for module in MODULES if module in reached(module))


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


def circle_of(imports: dict[str, set[str]]) -> list[str]:
    """Return the entries of one circle, the first again at the end; none without a circle."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle_between_the_entries_of_a_folder() -> None:
    circles = {folder: circle_of(imports) for folder, imports in entries_by_folder().items()}
    refuse(f"{folder}: {' <- '.join(circle)}" for folder, circle in circles.items() if circle)


def test_few_entries_at_the_top() -> None:
    assert len([path for path in ROOT.iterdir() if path.name != "__pycache__"]) <= MOST_ENTRIES


def test_a_public_class_name_occurs_once() -> None:
    names = Counter(
        node.name
        for module in MODULES
        for node in tree_of(module).body
        if isinstance(node, ast.ClassDef)
    )
    refuse(name for name, count in names.items() if count > 1)


def test_names_of_array_types_are_defined_in_one_module() -> None:
    refuse(
        f"{module} defines {name}"
        for module in MODULES
        for name in re.findall(ARRAY_TYPE, source_of(module), re.M)
        if module != "onnx_lobs.arrays"
    )


def test_only_the_command_line_prints() -> None:
    refuse(
        f"{module}:{call.lineno}"
        for module in MODULES
        for call in find(module, ast.Call)
        if isinstance(call.func, ast.Name) and call.func.id == "print" and module not in PRINTERS
    )


def docstrings_of(module: str) -> Iterator[tuple[str, str | None]]:
    """Yield the docstrings of the module, its public classes and functions, and their methods."""
    loaded = importlib.import_module(module)
    yield module, loaded.__doc__
    for name, thing in vars(loaded).items():
        code = inspect.isclass(thing) or inspect.isfunction(thing)
        if not code or thing.__module__ != module or name.startswith("_"):
            continue
        made = thing.__doc__ and thing.__doc__.startswith(f"{name}(")  # by dataclass
        yield f"{module}.{name}", None if made else thing.__doc__
        for method, function in vars(thing).items():
            if inspect.isfunction(function) and not method.startswith("_"):
                yield f"{module}.{name}.{method}", inspect.getdoc(getattr(thing, method))


def test_public_names_have_docstrings() -> None:
    written = [module for module in MODULES if source_of(module).strip()]
    refuse(name for module in written for name, text in docstrings_of(module) if not text)


def test_files_stay_small() -> None:
    lines = {module: len(source_of(module).splitlines()) for module in MODULES}
    refuse(f"{module}: {count} lines" for module, count in lines.items() if count > MOST_LINES)


def is_frozen(node: ast.ClassDef) -> bool:
    """Whether a class is a frozen dataclass."""
    return any("frozen=True" in ast.unparse(decorator) for decorator in node.decorator_list)


def writes_to_frozen(module: str) -> Iterator[ast.Attribute | ast.ClassDef]:
    """Yield each way around a frozen class, but for ``__setattr__`` while it is made."""
    making = {
        id(inner)
        for node in find(module, ast.FunctionDef)
        if node.name == "__post_init__"
        for inner in ast.walk(node)
    }
    for node in find(module, ast.Attribute):
        if node.attr == "__dict__" or (node.attr == "__setattr__" and id(node) not in making):
            yield node
    for kind in find(module, ast.ClassDef):
        if is_frozen(kind) and "cached_property" in ast.unparse(kind):
            yield kind


def test_frozen_classes_are_written_only_while_they_are_made() -> None:
    refuse(f"{module}:{n.lineno}" for module in MODULES for n in writes_to_frozen(module))


def is_dropped(node: ast.stmt) -> bool:
    """Whether a statement reads an attribute and does nothing with it."""
    named = isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["_"]
    return (isinstance(node, ast.Expr) or named) and isinstance(node.value, ast.Attribute)


def test_no_property_is_read_for_its_side_effect() -> None:
    refuse(
        f"{module}:{node.lineno}"
        for module in MODULES
        for node in find(module, ast.stmt)
        if is_dropped(node)
    )


def test_nothing_catches_every_exception() -> None:
    everything = {"Exception", "BaseException"}
    refuse(
        f"{module}:{handler.lineno}"
        for module in MODULES
        for handler in find(module, ast.ExceptHandler)
        if handler.type is None
        or everything & {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)}
    )


def test_every_module_can_be_imported_alone() -> None:
    names = {info.name for info in pkgutil.walk_packages(onnx_lobs.__path__, "onnx_lobs.")}
    assert names | {"onnx_lobs"} == set(MODULES)
