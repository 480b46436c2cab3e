"""Files of other kinds: known by their bytes, each with what to do."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.recognise import HEAD, recognise, recognise_bytes


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, b"")
    return file.getvalue()


HEADER = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
STRANGERS = {
    "a.pt": (archive("a/data.pkl", "a/data/0"), "a file of torch.save; .*torch.onnx.export"),
    "b.pth": (b"\x80\x02\x8a\nl\xfc", "a Python pickle, as torch.save .*torch.onnx.export"),
    "c.pt": (archive("c/data.pkl", "c/constants.pkl"), "a TorchScript model; .*torch.onnx.export"),
    "d.pt2": (archive("d/models/model.json"), "a program of torch.export; .*torch.onnx.export"),
    "e.safetensors": (len(HEADER).to_bytes(8, "little") + HEADER, "safetensors .*optimum-cli"),
    "f.tflite": (b"\x1c\0\0\0TFL3\x14\0", "a TensorFlow Lite model; .*--tflite"),
    "g.h5": (b"\x89HDF\r\n\x1a\n\0", "a Keras or HDF5 file; .*model.export"),
    "h.keras": (archive("config.json", "model.weights.h5"), "a Keras model; .*model.export"),
    "i.mlpackage.zip": (archive("x/Manifest.json"), "a Core ML package; export the network"),
    "j.zip": (archive("r/net.onnx"), "a zip archive; unpack it .*: r/net.onnx is in it"),
    "k.zip": (archive("a.npy"), "an npz file; that is data: give it with -d"),
    "l.zip": (b"PK\x03\x04cut", "a zip archive that is cut short"),
    "m.jpg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG picture; pictures are data"),
    "n.png": (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    "o.wav": (b"RIFF\x24\0\0\0WAVEfmt ", "a WAV sound; sound is data"),
    "p.webp": (b"RIFF\x24\0\0\0WEBPVP8 ", "a WebP picture"),
    "q.csv": (b"a,b\n1,2\n", "a text file; give the .onnx file"),
    "r.npy": (b"\x93NUMPY\x01\0", "an array of NumPy; that is data"),
    "s.onnx": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS, .* git lfs pull"),
    "t.onnx": (b"<!DOCTYPE html><html>", "a page of the web, .*download the file again"),
    "u.ort": (b"\x18\0\0\0ORTM", "ORT format; give the .onnx file"),
    "v.gguf": (b"GGUF\x03\0\0\0", "a GGUF file"),
    "w.xml": (b'<?xml version="1.0"?><net>', "as OpenVINO writes; give the .onnx file"),
    "x.gz": (b"\x1f\x8b\x08\0", "a gzip archive; unpack it"),
    "y.tar": (b"net.onnx".ljust(257, b"\0") + b"ustar", "a tar archive; unpack it"),
    "z.mlmodel": (b"\x08\x04\x12\x08\n\x06\n\x01x", "by its name it is a Core ML model"),
    "z.pb": (b"\n\x10\n\x01x", "by its name it is a graph of TensorFlow; .*--graphdef"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_file_of_another_kind_is_named_and_told_what_to_do(tmp_path: Path, name: str) -> None:
    content, words = STRANGERS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is .*{words}") as found:
        load_model(tmp_path / name)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["b.pth", "f.tflite", "m.jpg", "q.csv"])
def test_bytes_of_another_kind_are_named_too(name: str) -> None:
    content, words = STRANGERS[name]
    with pytest.raises(ModelError, match=f"the model given is {words}"):
        load_model(content)


def test_a_model_is_none_of_them(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    proto = model(nodes, [value("x", [2, 3])], ["y"], {"w": normal(0, 3, 3)})
    (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
    assert recognise(tmp_path / "a.onnx") is None


def test_a_text_whose_last_letter_is_cut_is_a_text_and_noise_is_none() -> None:
    text = ("é" * HEAD).encode()[: HEAD - 1]
    assert recognise_bytes(text) == "a text file; give the .onnx file"
    noise = np.random.default_rng(0).integers(0, 256, 256, np.uint8).tobytes()
    assert recognise_bytes(noise) is None


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["saved_model.pb"], "is a SavedModel of TensorFlow; run .*--saved-model"),
        (["Manifest.json"], "is a Core ML package"),
        (["b.onnx", "a.onnx"], "give the path of the .onnx file in it: a.onnx, b.onnx"),
        (["config.json", "model.safetensors"], "transformers library; run optimum-cli"),
        ([], "is a folder; give the path of the .onnx file in it$"),
    ],
)
def test_a_folder_is_told_what_to_do(tmp_path: Path, files: list[str], words: str) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match=words):
        load_model(tmp_path)
