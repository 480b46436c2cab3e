"""Recognises files that are no ONNX model by their first bytes, and says what to do with them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

HEAD = 512  # bytes that are looked at
_TORCH = "torch.onnx.export(model, (example,), 'model.onnx', dynamo=True)"
_KERAS = "model.export('model.onnx', format='onnx'), or tf2onnx"
_FRONT: tuple[tuple[int, bytes, str], ...] = (
    # where, the bytes, what it is and what to do
    (0, b"\x89HDF\r\n\x1a\n", f"a Keras or HDF5 file; load the model and call {_KERAS}"),
    (4, b"TFL3", "a TensorFlow Lite model; export the float model it was made from, or run "
     "python -m tf2onnx.convert --tflite FILE --output model.onnx"),
    (4, b"ORTM", "a model in onnxruntime's own ORT format; give the .onnx file it was made from"),
    (0, b"GGUF", "a GGUF file of llama.cpp; export the network it was made from to ONNX"),
    (0, b"ftrt", "a TensorRT engine; give the .onnx file it was built from"),
    (0, b"7767517", "an ncnn network; give the .onnx file it was made from"),
    (0, b"\x93NUMPY", "an array of NumPy; that is data: give it with -d, and the .onnx file here"),
    (0, b"\xff\xd8\xff", "a JPEG picture; pictures are data (-d), the model is an .onnx file"),
    (0, b"\x89PNG", "a PNG picture; pictures are data (-d), the model is an .onnx file"),
    (0, b"GIF8", "a GIF picture; pictures are data (-d), the model is an .onnx file"),
    (8, b"WEBP", "a WebP picture; pictures are data (-d), the model is an .onnx file"),
    (8, b"WAVE", "a WAV sound; sound is data (-d), the model is an .onnx file"),
    (0, b"fLaC", "a FLAC sound; sound is data (-d), the model is an .onnx file"),
    (0, b"OggS", "an Ogg sound; sound is data (-d), the model is an .onnx file"),
    (0, b"ID3", "an MP3 sound; sound is data (-d), the model is an .onnx file"),
    (0, b"\x1f\x8b", "a gzip archive; unpack it and give the .onnx file"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it and give the .onnx file"),
    (0, b"\xfd7zXZ", "an xz archive; unpack it and give the .onnx file"),
    (0, b"BZh", "a bzip2 archive; unpack it and give the .onnx file"),
    (257, b"ustar", "a tar archive; unpack it and give the .onnx file"),
    (0, b"PAR1", "a Parquet table; that is data, not a model"),
    (0, b"%PDF", "a PDF document; give the .onnx file"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run git lfs pull"),
    (0, b"<!DOCTYPE", "a page of the web, perhaps an error message; download the file again"),
    (0, b"<!doctype", "a page of the web, perhaps an error message; download the file again"),
    (0, b"<html", "a page of the web, perhaps an error message; download the file again"),
    (0, b"<?xml", "an XML file, as OpenVINO writes; give the .onnx file it was made from"),
)  # fmt: skip
_BY_NAME = {
    ".mlmodel": "a Core ML model; export the network it was made from to ONNX",
    ".pdmodel": "a Paddle model; run paddle2onnx --model_dir FOLDER --save_file model.onnx",
    ".pb": "a graph of TensorFlow; run python -m tf2onnx.convert --graphdef FILE --output "
    "model.onnx, with its --inputs and --outputs",
    ".engine": "a TensorRT engine; give the .onnx file it was built from",
    ".plan": "a TensorRT engine; give the .onnx file it was built from",
    ".mnn": "an MNN model; give the .onnx file it was made from",
}


def recognise(path: Path) -> str | None:
    """Return what a file is and what to do with it where its bytes are of another known kind.

    Parameters
    ----------
    path
        A regular file.

    Returns
    -------
    str or None
        None: it may be an ONNX model.

    Raises
    ------
    OSError
        When it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    return recognise_bytes(head) or (_zip_kind(path) if head.startswith(b"PK\x03\x04") else None)


def recognise_bytes(head: bytes) -> str | None:
    """Return the same for the first bytes of a file, or of what was given as its bytes."""
    for start, mark, words in _FRONT:
        if head[start:].startswith(mark):
            return words
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and head[1:2]:
        return f"a Python pickle, as torch.save wrote before 1.6; load it and call {_TORCH}"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return (
            "a safetensors file: weights without a network; load them into the model and call "
            f"{_TORCH}, or run optimum-cli export onnx --model FOLDER OUTPUT"
        )
    if _is_text(head):
        return "a text file; give the .onnx file"
    return None


def _is_text(head: bytes) -> bool:
    """Whether bytes are a text of several words or values, which no protobuf message is."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return len(text) > 1 and all(letter.isprintable() or letter in "\r\n\t" for letter in text)


def other_kind(name: str) -> str | None:
    """Return what a file seems to be by its name, where its bytes are no ONNX model after all."""
    words = _BY_NAME.get(Path(name).suffix.lower())
    return None if words is None else f"by its name it is {words}"


def _zip_kind(path: Path) -> str:
    """Return what a zip archive holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "a zip archive that is cut short; copy it again"
    for is_kind, words in _ZIPS:
        if is_kind(names):
            return words
    models = [name for name in names if name.endswith(".onnx")]
    inside = f": {models[0]} is in it" if models else ""
    return f"a zip archive; unpack it and give the .onnx file{inside}"


def _ends(*ends: str) -> Callable[[Collection[str]], bool]:
    return lambda names: any(name.endswith(ends) for name in names)


_ZIPS: tuple[tuple[Callable[[Collection[str]], bool], str], ...] = (
    (_ends("model.weights.h5"), f"a Keras model; load it and call {_KERAS}"),
    (_ends("/constants.pkl"), f"a TorchScript model; load the network it was made from and call "
     f"{_TORCH}"),
    (_ends("models/model.json", "serialized_exported_program.json"),
     "a program of torch.export; load it with torch.export.load and call "
     "torch.onnx.export(program, (), 'model.onnx', dynamo=True)"),
    (_ends("/data.pkl"), f"a file of torch.save; load it into the model and call {_TORCH}"),
    (_ends("Manifest.json"), "a Core ML package; export the network it was made from to ONNX"),
    (_ends(".npy"), "an npz file; that is data: give it with -d, and the .onnx file here"),
)  # fmt: skip


def recognise_folder(folder: Path) -> str:
    """Return what a folder is, and which file to give or what to run."""
    names = {path.name for path in folder.iterdir()}
    if "saved_model.pb" in names:
        return (
            f"{folder} is a SavedModel of TensorFlow; run python -m tf2onnx.convert --saved-model "
            f"{folder} --output model.onnx"
        )
    if "Manifest.json" in names or folder.suffix == ".mlpackage":
        return f"{folder} is a Core ML package; export the network it was made from to ONNX"
    models = sorted(name for name in names if name.endswith(".onnx"))
    if models:
        return f"{folder} is a folder; give the path of the .onnx file in it: {_some(models)}"
    if _ends(".safetensors", "pytorch_model.bin")(names) and "config.json" in names:
        return (
            f"{folder} holds a model of the transformers library; run optimum-cli export onnx "
            f"--model {folder} OUTPUT"
        )
    return f"{folder} is a folder; give the path of the .onnx file in it"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
