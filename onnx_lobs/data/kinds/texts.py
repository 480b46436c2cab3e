"""Opens text files as samples: one text a line, turned into tokens by a tokenizer.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec, kind
from onnx_lobs.data.kinds.class_folders import folder_labels
from onnx_lobs.data.kinds.extras import need
from onnx_lobs.data.kinds.request import Place, Request
from onnx_lobs.data.kinds.samples import Sample, SampleSource, sampled_batches
from onnx_lobs.errors import ConfigError, DataError

SUFFIXES = (".txt", ".text")
READS = ("tokenizer", "max_length", "classes")
MAX_LENGTH = 128  # tokens, where neither the model nor the user says
_ROLES = (  # what an input is filled with, by what its name holds; the first that fits
    ("mask", "mask"), ("type", "types"), ("segment", "types"), ("position", "positions"),
    ("id", "ids"), ("token", "ids"), ("input", "ids"), ("text", "ids"),
)  # fmt: skip
_PAD_TOKENS = ("[PAD]", "<pad>", "<|endoftext|>")


def open_texts(place: Place, request: Request) -> Batches:
    """Return batches of tokens; each is filled up to its longest text. Uses tokenizers.

    Raises
    ------
    DataError
        When a file cannot be read, holds no text, or the model has an input of no known role.
    ConfigError
        When the tokenizer is missing, or the library.
    """
    roles = {spec.name: _role(spec, request.inputs) for spec in request.inputs}
    length = fixed_length(request)
    tokenizer = load_tokenizer(place, request, length)
    lines, numbers = read_lines(place)
    found = folder_labels(place, request)
    labels = None if found.labels is None else found.labels[numbers]
    fill = dict.fromkeys(roles, 0)
    fill |= {name: tokenizer.pad for name, role in roles.items() if role == "ids"}

    def read(i: int) -> Sample:
        parts = tokenizer.parts(lines[i])
        types = {spec.name: _type(spec) for spec in request.inputs}
        return {name: np.asarray(parts[role], types[name]) for name, role in roles.items()}

    def join(samples: Sequence[Sample]) -> dict[str, Array]:
        longest = length or max(len(next(iter(sample.values()))) for sample in samples)
        return {
            name: np.stack([_filled(sample[name], longest, fill[name]) for sample in samples])
            for name in roles
        }

    source = SampleSource(place.name, len(lines), read, labels=labels, notes=found.notes, join=join)
    return sampled_batches(source, request)


def _type(spec: InputSpec) -> type:
    return np.float32 if kind(spec.dtype) == "float" else np.int64


def _filled(values: Array, length: int, value: int) -> Array:
    return np.pad(values, (0, length - len(values)), constant_values=value)


def _role(spec: InputSpec, inputs: Sequence[InputSpec]) -> str:
    """Return what an input is filled with."""
    has_rank = spec.shape is not None and len(spec.shape) in (1, 2)
    if kind(spec.dtype) in ("int", "float", "bool") and has_rank:
        name = spec.name.lower()
        role = next((role for word, role in _ROLES if word in name), None)
        if role is None and len(inputs) == 1:
            role = "ids"
        if role is not None and (role != "ids" or kind(spec.dtype) == "int"):
            return role
    raise DataError(
        f"input {spec.name!r} ({spec.dtype}, {spec.shape}) is not filled from texts, which give "
        "token ids, an attention mask, token types and positions, known by their names; give npz "
        "files, or FILE.py:FUNCTION, which yields all inputs by name"
    )


def fixed_length(request: Request) -> int | None:
    """Return how many tokens the model takes, where it fixes that.

    Raises
    ------
    ConfigError
        When ``max_length`` asks for more.
    """
    given = request.input_shapes
    lasts = [(given.get(s.name) or s.shape or (None,))[-1] for s in request.inputs]
    length = min((size for size in lasts if isinstance(size, int)), default=None)
    most = request.options.max_length
    if length is not None and most is not None and most > length:
        raise ConfigError(f"max_length is {most}, but the model takes {length} tokens; give less")
    return length


@dataclass(frozen=True)
class _Tokenizer:
    tokenizer: Any
    pad: int

    def parts(self, text: str) -> dict[str, list[int]]:
        """Return what inputs are filled with, by role."""
        found = self.tokenizer.encode(text)
        return {
            "ids": found.ids,
            "mask": found.attention_mask,
            "types": found.type_ids,
            "positions": list(range(len(found.ids))),
        }


def load_tokenizer(place: Place, request: Request, length: int | None) -> _Tokenizer:
    """Return the tokenizer, which cuts texts to the model's length or the one asked for.

    Raises
    ------
    ConfigError
        When there is no file, it is no tokenizer, or the library is not installed.
    """
    library = need("tokenizers", "text", "texts are turned into tokens by tokenizers")
    path = tokenizer_file(place, request)
    if not path.is_file():
        raise ConfigError(
            f"texts need a tokenizer, and there is none at {str(path)!r}; give the model's "
            "tokenizer.json with --tokenizer"
        )
    try:
        # its from_str raises a bare Exception for the same contents
        tokenizer = library.Tokenizer.from_buffer(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"tokenizer {str(path)!r} is no tokenizer.json; give the one of Hugging Face's library"
        ) from error
    padding = tokenizer.padding or {}
    tokenizer.no_padding()
    tokenizer.enable_truncation(request.options.max_length or length or MAX_LENGTH)
    known = (tokenizer.token_to_id(token) for token in _PAD_TOKENS)
    pad = padding.get("pad_id", next((i for i in known if i is not None), 0))
    return _Tokenizer(tokenizer, pad)


def tokenizer_file(place: Place, request: Request) -> Path:
    """Return where the tokenizer is looked for."""
    if request.options.tokenizer is not None:
        return Path(request.options.tokenizer)
    folder = place.root if place.root.is_dir() else place.root.parent
    return folder / "tokenizer.json"


def read_lines(place: Place) -> tuple[list[str], list[int]]:
    """Return the texts of all files, one a line, and the place of the file of each.

    Raises
    ------
    DataError
        When a file cannot be read as UTF-8, or there is no text.
    """
    lines: list[str] = []
    numbers: list[int] = []
    for number, path in enumerate(place.files):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise DataError(
                f"the text {path} cannot be read ({words}); save it as UTF-8"
            ) from error
        own = [line for line in text.splitlines() if line.strip()]
        lines += own
        numbers += [number] * len(own)
    if not lines:
        raise DataError(f"{place.name} holds no text; write one a line")
    return lines, numbers
