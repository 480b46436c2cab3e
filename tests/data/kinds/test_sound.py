"""Sound files become what a model takes: cut, filled up, mixed; other sample rates are refused."""

from __future__ import annotations

import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.reader import open_data
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.options.samples import SampleOptions

RATE = 16000
FULL = 2**15  # what 1 is in a file of 16 bits


def spec(shape: Any, name: str = "audio", dtype: str = "float32") -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


def write(path: Path, *channels: list[int], rate: int = RATE) -> Path:
    """Write 16-bit samples of each channel, with the standard library alone."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.array(channels, "<i2").T.tobytes())
    return path


def opened(source: Any, *inputs: InputSpec, **options: Any) -> Batches:
    given = SampleOptions(**{"sample_rate": RATE, **options})
    return open_data(source, inputs, samples=None, batch_size=8, options=given)


def test_sound_is_cut_and_filled_up_to_the_length_of_the_model(tmp_path: Path) -> None:
    write(tmp_path / "1.wav", [FULL // 2] * 3)
    write(tmp_path / "2.wav", [FULL // 4] * 9)
    (batch,) = opened(tmp_path, spec(("N", 5)))
    assert batch["audio"].tolist() == [[0.5] * 3 + [0] * 2, [0.25] * 5]


def test_an_open_length_is_that_of_the_longest_of_a_batch(tmp_path: Path) -> None:
    write(tmp_path / "1.wav", [1] * 3)
    write(tmp_path / "2.wav", [1] * 9)
    lengths = spec(("N",), "audio_len", "int64")
    (batch,) = opened(tmp_path, spec(("N", "T")), lengths)
    assert batch["audio"].shape == (2, 9)
    assert batch["audio_len"].tolist() == [3, 9]
    (batch,) = opened(tmp_path, spec(("N", "T")), max_length=4)
    assert batch["audio"].shape == (2, 4)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (("N", "T"), [[0.25, 0.25]]),
        (("N", 1, "T"), [[[0.25, 0.25]]]),
        (("N", 2, "T"), [[[0.5, 0.5], [0, 0]]]),
        (("N", "T", 2), [[[0.5, 0], [0.5, 0]]]),
    ],
)
def test_channels_are_averaged_or_kept_as_the_model_has_them(
    tmp_path: Path, shape: Any, expected: Any
) -> None:
    write(tmp_path / "a.wav", [FULL // 2] * 2, [0] * 2)
    (batch,) = opened(tmp_path / "a.wav", spec(shape))
    assert batch["audio"].tolist() == expected


def test_one_sound_a_call_and_its_rate_where_the_model_takes_them(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", [FULL // 2] * 2)
    (batch,) = opened(tmp_path / "a.wav", spec((4,)), spec((), "sr", "int64"))
    assert batch["audio"].tolist() == [0.5, 0.5, 0, 0]
    assert batch["sr"] == RATE


def test_another_sample_rate_is_an_error_that_names_both(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [1] * 4, rate=44100)
    with pytest.raises(DataError, match=r"a.wav has 44100 samples a second, and --sample-rate says "
                       r"16000; resample"):  # fmt: skip
        opened(path, spec(("N", 4)))
    assert opened(path, spec(("N", 4)), sample_rate=44100).notes == ()


def test_an_unknown_rate_is_a_note_and_two_rates_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", [1] * 4, rate=8000)
    (note,) = opened(tmp_path, spec(("N", 4)), sample_rate=None).notes
    assert "8000 samples a second" in note
    write(tmp_path / "b.wav", [1] * 4)
    with pytest.raises(DataError, match=r"b.wav has 16000 .* the files before it have 8000"):
        opened(tmp_path, spec(("N", 4)), sample_rate=None)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ((spec(("N", 3, 8, 8)),), "sounds fill one input of floats with 1 to 3 axes"),
        ((spec(("N", 4), dtype="int64"),), "sounds fill one input of floats"),
        ((spec(("N", 4)), spec(("N", 4), "state")), "sounds fill one input of floats"),
        ((spec(("N", 80, 100)),), "has 80 channels, so it takes no sound but what was computed"),
        ((spec(("N", 3, "T")),), "a.wav has 1 channels, and input 'audio' takes 3; convert it"),
    ],
)
def test_models_that_take_no_such_sound(
    tmp_path: Path, inputs: tuple[InputSpec, ...], match: str
) -> None:
    with pytest.raises(DataError, match=match):
        opened(write(tmp_path / "a.wav", [1] * 4), *inputs)


def test_more_than_the_model_takes_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_length is 9, but input 'audio' takes 4 values"):
        opened(write(tmp_path / "a.wav", [1] * 4), spec(("N", 4)), max_length=9)


def test_a_broken_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF, but no more")
    with pytest.raises(DataError, match=r"the sound .*a.wav cannot be read \(.*remove or replace"):
        opened(tmp_path, spec(("N", 4)))
    with pytest.raises(DataError, match=r"none.wav does not exist"):
        opened(tmp_path / "none.wav", spec(("N", 4)))


def test_without_soundfile_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.wav", [1] * 4)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ConfigError, match=r"pip install 'onnx-lobs\[sound\]'"):
        opened(tmp_path, spec(("N", 4)))


def test_folders_are_classes_of_sounds_too(tmp_path: Path) -> None:
    for name in ("no", "yes"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "1.wav", [1] * 4)
    batches = open_data(tmp_path, [spec(("N", 4))], samples=None, batch_size=8, n_classes=2)
    assert batches.labels is not None
    assert sorted(batches.labels.tolist()) == [0, 1]
