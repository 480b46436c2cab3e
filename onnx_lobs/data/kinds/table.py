"""Says which kind of data reads which files: one row a kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_lobs.data.batches import Batches
from onnx_lobs.data.files import ARRAY_SUFFIXES, list_files
from onnx_lobs.data.kinds import arrays, images, polygraphy, scripts, sound, tables, texts
from onnx_lobs.data.kinds.place import files_inside, find_place
from onnx_lobs.data.kinds.request import Place, Request
from onnx_lobs.errors import ConfigError, DataError, near_file
from onnx_lobs.options.option import options_of
from onnx_lobs.options.prose import long_flag
from onnx_lobs.options.samples import SAMPLE_OPTIONS, SampleOptions, check_values


@dataclass(frozen=True)
class DataKind:
    """One kind of data.

    Parameters
    ----------
    name
        In words for people, several.
    find
        Returns those files of a place that it reads; none: the place is of another kind.
    open
        Returns batches of a place that holds only such files.
    reads
        The options of :class:`~onnx_lobs.options.samples.SampleOptions` that it obeys.
    suffixes
        Of its files, for messages.
    """

    name: str
    find: Callable[[Place], Sequence[Path]]
    open: Callable[[Place, Request], Batches]
    reads: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()


def by_suffix(suffixes: Sequence[str], *, is_nested: bool = True) -> Callable[[Place], list[Path]]:
    """Return what finds files by their suffixes, in folders of a folder too if it is nested."""

    def find(place: Place) -> list[Path]:
        files: Iterable[Path] = place.files
        if place.is_folder:
            files = files_inside(place.root) if is_nested else list_files(place.root)
        return [path for path in files if path.suffix.lower() in suffixes]

    return find


_JSON = (".json",)
_NO_SAMPLES = frozenset(  # what lies beside samples, without suffix: a note of it would be noise
    ("readme", "license", "licence", "notice", "classes", "labels", "vocab", "requirements")
)
_OTHERS = {
    ".onnx": ": it is a model, and data are what it takes",
    ".py": ": name a function in it, FILE.py:FUNCTION, that yields batches",
}
# In this order: the first that finds files reads them. Arrays come before all that has to be
# decoded; what often lies beside others, as lists of names and tokenizers do, behind these.
KINDS = (
    DataKind("a function of yours", scripts.find_script, scripts.open_script),
    DataKind("test data sets", arrays.find_test_sets, arrays.open_test_sets),
    DataKind(
        "arrays",
        by_suffix(ARRAY_SUFFIXES, is_nested=False),
        arrays.open_arrays,
        (),
        ARRAY_SUFFIXES,
    ),
    DataKind(
        "pictures", by_suffix(images.SUFFIXES), images.open_images, images.READS, images.SUFFIXES
    ),
    DataKind("sounds", by_suffix(sound.SUFFIXES), sound.open_sound, sound.READS, sound.SUFFIXES),
    DataKind(
        "tables",
        by_suffix(tables.SUFFIXES, is_nested=False),
        tables.open_table,
        tables.READS,
        tables.SUFFIXES,
    ),
    DataKind("texts", by_suffix(texts.SUFFIXES), texts.open_texts, texts.READS, texts.SUFFIXES),
    DataKind(
        "inputs saved by Polygraphy",
        by_suffix(_JSON, is_nested=False),
        polygraphy.open_polygraphy,
        (),
        _JSON,
    ),
)


def recognise(source: object, kinds: Sequence[DataKind] = KINDS) -> tuple[DataKind, Place] | None:
    """Return the kind of data that a path, a pattern or a list of paths means, and its files.

    Returns
    -------
    (DataKind, Place) or None
        None: it is no path, or none of the kinds reads it.

    Raises
    ------
    DataError
        When a pattern or a list means files of several kinds, or a folder cannot be read.
    """
    place = find_place(source)
    if place is None:
        return None
    for kind in kinds:
        files = tuple(kind.find(place))
        if files:
            is_partial = not place.is_folder and kind.suffixes and len(files) < len(place.files)
            other = next((p for p in place.files if p not in files), None) if is_partial else None
            if other is not None:
                raise DataError(
                    f"{other} is not of the kind of {files[0]}; give one kind at a time"
                )
            return kind, dataclasses.replace(place, files=files)
    return None


def open_path(source: Any, request: Request, kinds: Sequence[DataKind] = KINDS) -> Batches:
    """Return batches of a path, a pattern or a list of paths.

    Raises
    ------
    DataError
        When no kind reads it, it does not exist, or its kind refuses it.
    ConfigError
        When its kind needs an option or a library.
    """
    found = recognise(source, kinds)
    if found is not None:
        kind, place = found
        _refuse_special(place.files)
        batches = kind.open(place, request)
        notes = _left_out(source, kind, request, kinds)
        return dataclasses.replace(batches, notes=(*batches.notes, *notes))
    path = Path(source[0] if isinstance(source, list | tuple) else source)
    known = ", ".join(suffix for kind in kinds for suffix in kind.suffixes)
    others = "test_data_set_* folders, FILE.py:FUNCTION"
    if path.is_dir():
        raise DataError(
            f"{path} holds nothing that is read ({known}, {others}); add some, or give the path of "
            "a file"
        )
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path{near_file(path)}")
    hint = _OTHERS.get(path.suffix.lower(), "")
    raise DataError(f"{path} is of no kind that is read{hint}; give {known}, or {others}")


def _left_out(
    source: object, kind: DataKind, request: Request, kinds: Sequence[DataKind]
) -> Iterator[str]:
    """Yield a note where a folder holds data of several kinds, of which one is read."""
    place = find_place(source)
    if place is None or not place.is_folder or not kind.suffixes:
        return
    options = (request.options.classes, request.options.tokenizer)
    named = {Path(name).resolve() for name in options if name is not None}
    others = [
        path
        for other in kinds
        if other is not kind and other.suffixes and other.suffixes != _JSON
        for path in other.find(place)
        if path.stem.lower() not in _NO_SAMPLES and path.resolve() not in named
    ]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        yield (
            f"only the {kind.name} in {place.name} are read, not {others[0].name}{more}; if these "
            "are the samples, give their path"
        )


def _refuse_special(files: Iterable[Path]) -> None:
    """Refuse pipes and devices, which may never end, before they are opened."""
    for path in files:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise DataError(f"{path} is no regular file; give files")


def check_read(config: SampleOptions, sources: Iterable[object]) -> None:
    """Refuse options that none of the data obeys.

    Parameters
    ----------
    config
        The options.
    sources
        Calibration and test data; None stands for none.

    Raises
    ------
    ConfigError
        The message names the option, and what would obey it. Also where options of how pixels are
        scaled contradict each other.
    """
    check_values(config)
    declared = options_of(SampleOptions)
    given = [name for name in SAMPLE_OPTIONS if getattr(config, name) is not None]
    found = [recognise(source) for source in sources] if given else []
    read = {name for one in found if one is not None for name in one[0].reads}
    for name in given:
        if name not in read:
            kinds = " and ".join(kind.name for kind in KINDS if name in kind.reads)
            have = " and ".join(sorted({one[0].name for one in found if one is not None}))
            raise ConfigError(
                f"{long_flag(declared[name])} was given, which {kinds} obey, but the data are "
                f"{have or 'none of them'}; leave it out"
            )


def files_read(source: object) -> list[Path]:
    """Return the files that are read of a source of data.

    Raises
    ------
    DataError
        A folder cannot be read.
    """
    found = recognise(source)
    if found is None:
        return []
    kind, place = found
    if kind.find is scripts.find_script:
        return [scripts.script_file(place.root)]
    return [inner for path in place.files for inner in _inner(path)]


def _inner(path: Path) -> list[Path]:
    return sorted(path.glob("input_*.pb")) if path.is_dir() else [path]
