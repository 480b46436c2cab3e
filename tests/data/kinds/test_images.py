"""Pictures become the values that a model takes: geometry, colours, scale, order, errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.kinds import samples as samples_module
from onnx_lobs.data.reader import open_data
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.options.samples import PRESETS, SampleOptions

RED, GREEN = (255, 0, 0), (0, 255, 0)
HALF_A_STEP = 0.5 / 255  # what rounding to bytes loses
JPEG_ERROR = 6  # of 255: what compression changes of one colour


def spec(shape: Any = ("N", 3, 4, 6), dtype: str = "float32", name: str = "image") -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


def opened(source: Any, *inputs: InputSpec, **options: Any) -> Batches:
    own = {"samples": None, "batch_size": 4, "seed": 0, "input_shapes": {}, "n_classes": None}
    own |= {name: options.pop(name) for name in list(options) if name in own}
    given = SampleOptions(**{"preset": "0-255", **options})
    return open_data(source, inputs or [spec()], options=given, **own)


def only(source: Any, *inputs: InputSpec, **options: Any) -> np.ndarray:
    (batch,) = opened(source, *inputs, **options)
    return next(iter(batch.values()))


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A red picture of the size that the model takes."""
    Image.new("RGB", (6, 4), RED).save(tmp_path / "red.png")
    return tmp_path / "red.png"


def gradient(path: Path, width: int = 12, height: int = 8) -> np.ndarray:
    """Write and return a picture without two equal pixels in a row or column."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 20 * np.arange(width)
    pixels[..., 1] = 30 * np.arange(height)[:, None]
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("0-255", [255, 0, 0]),
        ("0-1", [1, 0, 0]),
        ("-1-1", [1, -1, -1]),
        ("imagenet", [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]),
    ],
)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_presets_orders_and_layouts(
    red: Path, preset: str, expected: list[float], order: str, layout: str
) -> None:
    shape = ("N", 3, 4, 6) if layout == "nchw" else ("N", 4, 6, 3)
    values = only(red, spec(shape), preset=preset, channel_order=order)
    axis = 1 if layout == "nchw" else 3
    wanted = expected if order == "rgb" else expected[::-1]
    np.testing.assert_allclose(np.moveaxis(values, axis, -1)[0, 2, 3], wanted, rtol=1e-6)


def test_every_preset_is_tried_above() -> None:
    assert set(PRESETS) == {"0-255", "0-1", "-1-1", "imagenet"}


@pytest.mark.parametrize(
    ("options", "red_value"),
    [
        ({"mean": (127.0,), "std": (128.0,)}, 1.0),
        ({"mean": (0.5,)}, 0.5),
        ({"std": (0.25,)}, 4.0),
        ({"scale": 2.0, "mean": (10.0,)}, 500.0),
        ({"mean": (0.5, 0.4, 0.3), "std": (0.5, 0.5, 0.5), "scale": 1 / 255}, 1.0),
    ],
)
def test_a_pixel_is_scaled_then_less_the_mean_over_the_deviation(
    red: Path, options: dict[str, Any], red_value: float
) -> None:
    values = only(red, preset=None, **options)
    np.testing.assert_allclose(values[0, 0, 0, 0], red_value, rtol=1e-6)


def test_without_any_scale_pictures_are_refused(red: Path) -> None:
    with pytest.raises(ConfigError, match=r"how pixels are scaled is not known.*--preset imagenet"):
        opened(red, preset=None)


def test_bytes_go_in_as_they_are(red: Path) -> None:
    assert only(red, spec(dtype="uint8"), preset=None)[0, 0, 0, 0] == 255
    with pytest.raises(ConfigError, match="preset was given, but input 'image' takes uint8"):
        opened(red, spec(dtype="uint8"), preset="0-1")


def test_the_middle_is_cut_out_of_a_picture_that_covers_the_model(tmp_path: Path) -> None:
    pixels = gradient(tmp_path / "a.png", width=12, height=4)
    np.testing.assert_array_equal(
        only(tmp_path / "a.png")[0], pixels[:, 3:9].transpose(2, 0, 1).astype(np.float32)
    )


def test_resize_stretches_or_sets_the_shorter_side(tmp_path: Path) -> None:
    gradient(tmp_path / "a.png")
    image = Image.open(tmp_path / "a.png")
    stretched = np.asarray(image.resize((6, 4), Image.Resampling.BILINEAR))
    found = only(tmp_path / "a.png", resize=(4, 6))
    np.testing.assert_array_equal(found[0], stretched.transpose(2, 0, 1))
    shorter = np.asarray(image.resize((9, 6), Image.Resampling.BILINEAR))[1:5, 1:7]
    np.testing.assert_array_equal(
        only(tmp_path / "a.png", resize=(6,))[0], shorter.transpose(2, 0, 1)
    )


def test_an_open_size_is_taken_from_options_and_else_asked_for(red: Path) -> None:
    free = spec(("N", 3, "h", "w"))
    assert only(red, free, resize=(5, 7)).shape == (1, 3, 5, 7)
    assert only(red, free, resize=(9,), crop=(4,)).shape == (1, 3, 4, 4)
    assert only(red, free, resize=(9,)).shape == (1, 3, 9, 9)
    assert only(red, free, input_shapes={"image": (1, 3, 2, 3)}).shape == (1, 3, 2, 3)
    with pytest.raises(ConfigError, match=r"leaves the size of pictures open; give --resize HxW"):
        opened(red, free)


@pytest.mark.parametrize(
    ("shape", "options", "match"),
    [
        (("N", 3, 4, 6), {"crop": (5,)}, "crop is 5x5, but input 'image' takes pictures of 4x6"),
        (("N", 3, 4, 6), {"resize": (3,)}, r"resize 3 makes .*red.png 3x4, less than the 4x6"),
        (("N", 3, 4, 6), {"layout": "nhwc"}, "has 6 channels, last, and pictures have 1 or 3"),
        (("N", 1, 4, 6), {"channel_order": "bgr"}, "channel_order is 'bgr', but .* one channel"),
        (("N", "a", "b", "c"), {"crop": (4,)}, "leaves open where its channels stand; give --lay"),
    ],
)
def test_options_that_contradict_the_model_are_refused(
    red: Path, shape: Any, options: dict[str, Any], match: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=match):
        opened(red, spec(shape), **options)


def test_a_layout_decides_where_the_model_leaves_it_open(red: Path) -> None:
    free = spec(("N", "a", "b", "c"))
    assert only(red, free, crop=(4,), layout="nhwc").shape == (1, 4, 4, 3)
    assert only(red, free, crop=(4,), layout="nchw").shape == (1, 3, 4, 4)


@pytest.mark.parametrize("inputs", [(spec(("N", 7)),), (spec(), spec(("N", 2), name="size"))])
def test_models_that_take_something_else_are_refused(
    red: Path, inputs: tuple[InputSpec, ...]
) -> None:
    with pytest.raises(DataError, match=r"pictures fill one input of 3 or 4 axes, and the model"):
        opened(red, *inputs)


def test_one_picture_a_call_where_the_model_has_no_batch_axis(red: Path) -> None:
    batches = opened([red, red], spec((3, 4, 6)))
    assert [batch["image"].shape for batch in batches] == [(3, 4, 6)] * 2


def test_a_fixed_batch_wins_and_leaves_the_rest_out(red: Path) -> None:
    assert opened([red] * 5, spec((2, 3, 4, 6))).sizes == (2, 2)


def test_gray(tmp_path: Path, red: Path) -> None:
    luma = round(255 * 0.299)
    assert only(red, spec(("N", 1, 4, 6)))[0, 0, 0, 0] == luma
    assert only(red, channel_order="gray")[0, :, 0, 0].tolist() == [luma] * 3
    one = only(red, spec(("N", 1, 4, 6)), preset="imagenet")[0, 0, 0, 0]
    assert one == pytest.approx((luma / 255 - 0.449) / 0.226, abs=HALF_A_STEP)


def test_wide_gray_is_brought_to_bytes(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 65535, np.uint16)).save(tmp_path / "a.png")
    assert only(tmp_path / "a.png", spec(("N", 1, 4, 6)))[0, 0, 0, 0] == 255
    Image.fromarray(np.full((4, 6), 0.5, np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=r"a.tiff holds values of float32 beyond 16 bits"):
        opened(tmp_path / "a.tiff")


def test_transparent_parts_are_white_and_half_transparent_ones_half(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[:, 3:, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert only(tmp_path / "a.png")[0, 0, 0].tolist() == [255] * 3 + [0] * 3
    palette = Image.new("P", (6, 4), 0)
    palette.putpalette([9, 9, 9])
    palette.save(tmp_path / "p.png", transparency=0)
    assert only(tmp_path / "p.png")[0, 0, 0, 0] == 255


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (6, 4), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(only(tmp_path / "a.jpg")[0, :, 0, 0], RED, atol=JPEG_ERROR)


def test_pictures_stand_upright_as_their_exif_data_say(tmp_path: Path) -> None:
    lying = Image.new("RGB", (4, 6), RED)
    lying.paste(Image.new("RGB", (4, 3), GREEN), (0, 3))  # green below
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right, so that below comes to the left
    lying.save(tmp_path / "a.png", exif=exif)
    values = only(tmp_path / "a.png")
    np.testing.assert_array_equal(values[0, :, 0, 0], GREEN)
    np.testing.assert_array_equal(values[0, :, 0, 5], RED)


# --- which pictures, and in which order


def shades(folder: Path, names: list[str]) -> None:
    """Write pictures whose value is their place in the list."""
    for place, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (place, place, place)).save(path)


def order(batches: Batches) -> list[int]:
    return [int(value) for batch in batches for value in batch["image"][:, 0, 0, 0]]


def test_folders_patterns_and_lists_are_read_in_a_fixed_order(tmp_path: Path) -> None:
    shades(tmp_path / "all", ["a/2.png", "a/10.png", "b/c/1.bmp", "b/x.webp"])
    (tmp_path / "all" / "a" / "notes.txt").write_text("no picture")
    (tmp_path / "all" / ".hidden.png").write_bytes(b"")
    assert sorted(order(opened(tmp_path / "all"))) == [0, 1, 2, 3]
    assert order(opened(tmp_path / "all")) == order(opened(str(tmp_path / "all")))
    assert order(opened(tmp_path / "all" / "a")) == [0, 1]  # 2 before 10
    assert order(opened(f"{tmp_path}/all/a/*.png")) in ([0, 1], [1, 0])
    assert order(opened([tmp_path / "all/a/10.png", tmp_path / "all/a/2.png"])) == [1, 0]


def test_pictures_of_several_folders_are_mixed_by_the_seed(tmp_path: Path) -> None:
    shades(tmp_path, [f"{i // 8}/{i}.png" for i in range(16)])
    one = opened(tmp_path, n_classes=2)
    assert order(one) == order(opened(tmp_path, n_classes=2)) != list(range(16))
    assert order(one) != order(opened(tmp_path, n_classes=2, seed=1))
    assert one.labels is not None
    assert one.labels.tolist() == [i // 8 for i in order(one)]


def test_a_seed_chooses_the_same_subset(tmp_path: Path) -> None:
    shades(tmp_path, [f"{i}.png" for i in range(9)])
    one = opened(tmp_path, samples=4, seed=1)
    assert order(one) == order(opened(tmp_path, samples=4, seed=1)) == sorted(order(one))
    assert order(one) != order(opened(tmp_path, samples=4, seed=3))
    assert one.origin == f"{tmp_path.name} (4 of 9 samples)"
    assert one.numbers is not None
    assert one.numbers.tolist() == order(one)


def test_every_pass_and_every_cut_gives_the_same_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shades(tmp_path, [f"{i}.png" for i in range(7)])
    for room in (0, 200, 1 << 20):  # nothing is kept, some, everything
        monkeypatch.setattr(samples_module, "KEPT_BYTES", room)
        batches = opened(tmp_path)
        assert order(batches) == order(batches) == list(range(7))
        assert batches.recut is not None
        again = batches.recut(2)
        assert again.sizes == (2, 2, 2, 1)
        assert order(again) == list(range(7))


def test_what_is_kept_stays_below_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shades(tmp_path, [f"{i}.png" for i in range(7)])
    monkeypatch.setattr(samples_module, "KEPT_BYTES", 2 * 72 + 71)
    reads: list[int] = []

    def read(i: int) -> dict[str, np.ndarray]:
        reads.append(i)
        return {"image": np.zeros((3, 4, 6), np.uint8)}

    drawer = samples_module._Drawer(samples_module.SampleSource("x", 7, read))
    for _ in range(2):
        for i in range(7):
            drawer.take(i)
    assert reads == [0, 1, 2, 3, 4, 5, 6, 2, 3, 4, 5, 6]


# --- what is wrong


def test_a_broken_picture_is_named(tmp_path: Path, red: Path) -> None:
    whole = red.read_bytes()
    (tmp_path / "z.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"the picture .*z.png cannot be read \(.*remove or repl"):
        opened(tmp_path)
    (tmp_path / "z.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"the picture .*z.png cannot be read"):
        opened(tmp_path)


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.jpg does not exist; check the path"):
        opened(tmp_path / "none.jpg")


def test_a_picture_of_endless_size_is_refused(red: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(DataError, match=r"red.png cannot be read \(Image size"):
        opened(red)


def test_without_pillow_the_command_that_installs_it_is_named(
    red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(
        ConfigError, match=r"read by Pillow; install it: pip install 'onnx-lobs\[im"
    ):
        opened(red)
