"""Says in a line how data of a kind that is not read become an npz file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx_lobs.data.inputs import InputSpec

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm")
_SOUND = (".wav", ".flac", ".mp3", ".ogg", ".m4a")
_TABLES = (".csv", ".tsv", ".txt")
_CHANNELS = (1, 3, 4)
_MANY = 256  # files that are plenty to calibrate with
_SIDE = 224  # pixels, where the model leaves it open


def recipe(path: Path, inputs: Sequence[InputSpec]) -> str | None:
    """Return a command that makes ``calibration.npz`` of files of a known kind.

    Parameters
    ----------
    path
        One of the files.
    inputs
        The model's inputs; the first one of a fitting rank is filled.

    Returns
    -------
    str or None
        None where the kind is not known.
    """
    suffix = path.suffix.lower()
    files = f"sorted(glob.glob('{(path.parent / '*').as_posix()}{path.suffix}'))[:{_MANY}]"
    if suffix in _PICTURES:
        return _pictures(files, _of_rank(inputs, 4))
    if suffix in _SOUND:
        spec = _of_rank(inputs, 2)
        return _command(
            "pictures or sound are not read yet" if spec is None else "sound is not read yet",
            "import glob, numpy as np, soundfile as sf",
            f"np.stack([sf.read(f, dtype='float32')[0][:16000] for f in {files}])",
            spec,
            "cut to one length, at the rate that the model takes",
        )
    if suffix in _TABLES:
        delimiter = r"'\t'" if suffix == ".tsv" else "','"
        return _command(
            "texts are not read",
            "import numpy as np",
            f"np.loadtxt('{path.as_posix()}', np.float32, delimiter={delimiter}, skiprows=1)",
            _of_rank(inputs, 2),
            "one row a sample; leave out columns that are no inputs",
        )
    return None


def _of_rank(inputs: Sequence[InputSpec], rank: int) -> InputSpec | None:
    fitting = (spec for spec in inputs if spec.shape is not None and len(spec.shape) == rank)
    return next(fitting, inputs[0] if inputs else None)


def _pictures(files: str, spec: InputSpec | None) -> str:
    known = () if spec is None or spec.shape is None else spec.shape[-3:]
    shape = known if len(known) == 3 else (None, None, None)  # no picture goes in there
    is_last = shape[-1] in _CHANNELS and shape[0] not in _CHANNELS  # behind height and width
    channels, height, width = (shape[-1], *shape[:2]) if is_last else shape
    mode = "L" if channels == 1 else "RGB"
    height, width = (size if isinstance(size, int) else _SIDE for size in (height, width))
    one = f"np.asarray(Image.open(f).convert('{mode}').resize(({width}, {height})), np.float32)"
    if channels == 1:
        one += f"[{'..., None' if is_last else 'None'}]"
    elif not is_last:
        one += ".transpose(2, 0, 1)"
    return _command(
        "pictures are not read yet",
        "import glob, numpy as np; from PIL import Image",
        f"np.stack([{one} / 255 for f in {files}])",
        spec,
        "scaled as in training",
    )


def _command(what: str, imports: str, array: str, spec: InputSpec | None, care: str) -> str:
    name = "x" if spec is None else spec.name
    keyword = f"{name}={array}" if name.isidentifier() else f"**{{'{name}': {array}}}"
    return (
        f'{what}; make an npz of them ({care}): python -c "{imports}; '
        f"np.savez('calibration.npz', {keyword})\" and give that"
    )
