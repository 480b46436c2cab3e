"""open_data: what it takes, what it gives back, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader

from onnx_lobs.data.reader import Batches, InputSpec, input_specs, open_data
from onnx_lobs.errors import ConfigError, DataError

Array = np.ndarray[Any, Any]
Shape = tuple[int | str | None, ...] | None


def spec(name: str = "x", shape: Shape = ("N", 3), dtype: Any = "float32") -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


def rows(n: int, *shape: int, dtype: Any = "float32") -> Array:
    """Return samples whose values tell which sample they are of."""
    return np.broadcast_to(np.arange(n).reshape(n, *[1] * len(shape)), (n, *shape)).astype(dtype)


def opened(source: object, *inputs: InputSpec, **options: Any) -> Batches:
    options = {"samples": None, "batch_size": 4, **options}
    return open_data(source, inputs or (spec(),), **options)


def joined(batches: Batches, name: str = "x") -> Array:
    return np.concatenate([batch[name] for batch in batches])


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """A reader as onnxruntime's users write it, which cannot be rewound."""

    def __init__(self, batches: list[dict[str, Array]]) -> None:
        self.batches = batches
        self.place = 0

    def get_next(self) -> dict[str, Array] | None:
        self.place += 1
        return self.batches[self.place - 1] if self.place <= len(self.batches) else None


class RewindingReader(Reader):
    def rewind(self) -> None:
        self.place = 0


class RangeReader(Reader):
    def __len__(self) -> int:
        return len(self.batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.place = start_index


class ReusingLoader:
    """An iterable that hands out one buffer, and other data on a second pass."""

    def __init__(self) -> None:
        self.buffer = np.zeros((2, 3), np.float32)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        for _ in range(3):
            self.buffer += 1
            yield {"x": self.buffer}


# --- the model's inputs


def test_input_specs_are_the_inputs_that_no_initializer_backs() -> None:
    value = helper.make_tensor_value_info
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("at", TensorProto.INT64, [1], [0]),
        [4],
    )
    graph = helper.make_graph(
        [],
        "g",
        [
            value("a", TensorProto.BFLOAT16, ["N", 3, None]),
            value("weight", TensorProto.FLOAT, [2]),
            value("sparse", TensorProto.FLOAT, [4]),
            value("ids", TensorProto.INT64, [0, 1]),
            value("scalar", TensorProto.BOOL, []),
            value("free", TensorProto.STRING, None),
        ],
        [],
        initializer=[helper.make_tensor("weight", TensorProto.FLOAT, [2], [1.0, 2.0])],
        sparse_initializer=[sparse],
    )
    assert input_specs(helper.make_model(graph)) == (
        spec("a", ("N", 3, None), ml_dtypes.bfloat16),
        spec("ids", (None, 1), "int64"),
        spec("scalar", (), "bool"),
        spec("free", None, object),
    )


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (
            helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [2]),
            "input 's' is of kind sequence_type; only tensors can be fed; replace",
        ),
        (onnx.ValueInfoProto(name="s"), "input 's' is of kind unknown"),
        (
            helper.make_tensor_value_info("s", TensorProto.UNDEFINED, [2]),
            "input 's' has no element type; give it one",
        ),
    ],
)
def test_input_specs_refuse_what_is_no_tensor(value: onnx.ValueInfoProto, match: str) -> None:
    with pytest.raises(DataError, match=match):
        input_specs(helper.make_model(helper.make_graph([], "g", [value], [])))


# --- stacks


def test_a_stack_is_cut_into_batches_and_the_last_may_be_smaller() -> None:
    batches = opened({"x": rows(10, 3)})
    assert [len(batch["x"]) for batch in batches] == [4, 4, 2]
    assert (len(batches), batches.n_samples) == (3, 10)
    assert batches.origin == "arrays (10 samples)"
    assert not batches.synthetic
    np.testing.assert_array_equal(joined(batches), rows(10, 3))


def test_a_fixed_batch_axis_wins_and_the_incomplete_batch_is_dropped() -> None:
    source = {"x": rows(10, 3), "y": np.arange(10)}
    batches = opened(source, spec(shape=(3, 3)))
    assert [batch["x"].shape for batch in batches] == [(3, 3)] * 3
    assert batches.n_samples == 9
    assert batches.origin == "arrays (9 of 10 samples)"
    np.testing.assert_array_equal(batches.labels, np.arange(9))


def test_fewer_samples_than_a_fixed_batch_axis_are_refused() -> None:
    with pytest.raises(DataError, match=r"2 samples are used, .* fixed at 3; give at least 3"):
        opened({"x": rows(10, 3)}, spec(shape=(3, 3)), samples=2)


def test_differing_fixed_first_axes_are_refused_for_a_stack_and_taken_in_batches() -> None:
    inputs = spec("x", (1, 3)), spec("boxes", (5, 4))
    arrays = {"x": rows(1, 3), "boxes": rows(5, 4)}
    with pytest.raises(DataError, match=r"first axis of 'x' at 1 and of 'boxes' at 5.*batches"):
        opened({"x": rows(5, 3), "boxes": rows(5, 4)}, *inputs)
    batches = opened([arrays, arrays], *inputs)
    assert batches.sizes == (1, 1)


def test_a_subset_is_seeded_in_order_and_the_same_for_inputs_and_labels() -> None:
    source = {"x": rows(100, 3), "ids": rows(100, 2, dtype="int64"), "label": np.arange(100)}
    inputs = spec(), spec("ids", ("N", 2), "int64")
    batches = opened(source, *inputs, samples=10, seed=1)
    chosen = joined(batches)[:, 0]
    assert batches.n_samples == 10
    assert batches.origin == "arrays (10 of 100 samples)"
    assert np.all(np.diff(chosen) > 0)
    np.testing.assert_array_equal(joined(batches, "ids")[:, 0], chosen)
    np.testing.assert_array_equal(batches.labels, chosen)
    again, other = (joined(opened(source, *inputs, samples=10, seed=seed)) for seed in (1, 2))
    np.testing.assert_array_equal(again[:, 0], chosen)
    assert not np.array_equal(other[:, 0], chosen)


def test_an_input_of_rank_0_goes_whole_into_every_batch() -> None:
    inputs = spec(), spec("rate", (), "int64")
    batches = opened({"x": rows(6, 3), "rate": np.array(7)}, *inputs)
    assert [int(batch["rate"]) for batch in batches] == [7, 7]
    assert opened({"rate": np.array(7)}, inputs[1]).sizes == (1,)


def test_one_sample_without_its_batch_axis_gets_one() -> None:
    (batch,) = opened({"x": np.ones(3, np.float32)})
    assert batch["x"].shape == (1, 3)


def test_an_input_of_unknown_rank_takes_any_shape() -> None:
    assert opened({"x": rows(6, 2, 5)}, spec(shape=None)).sizes == (4, 2)


def test_the_arrays_are_not_modified_and_not_copied() -> None:
    source = rows(6, 3)
    before = source.copy()
    first = next(iter(opened(source)))
    np.testing.assert_array_equal(source, before)
    assert np.shares_memory(first["x"], source)


def test_opened_batches_pass_through() -> None:
    batches = opened(rows(6, 3))
    assert opened(batches) is batches


@pytest.mark.parametrize("option", ["samples", "batch_size"])
def test_options_below_one_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} is 0; it must be at least 1"):
        opened(rows(6, 3), **{option: 0})


# --- batches as given


def source_generator() -> Iterator[dict[str, Array]]:
    for i in range(3):
        yield {"x": np.full((2, 3), i + 1, np.float32)}


@pytest.mark.parametrize(
    "make",
    [
        source_generator,
        lambda: list(source_generator()),
        lambda: [batch["x"] for batch in source_generator()],
        lambda: Reader(list(source_generator())),
        ReusingLoader,
    ],
    ids=["generator", "list", "bare arrays", "reader", "reused buffer"],
)
def test_batches_are_taken_as_given_and_can_be_read_again(make: Callable[[], object]) -> None:
    batches = opened(make())
    expected = [1, 1, 2, 2, 3, 3]
    for _ in range(2):
        np.testing.assert_array_equal(joined(batches)[:, 0], expected)
    assert batches.sizes == (2, 2, 2)
    assert batches.origin == "batches (6 samples in 3 batches)"


@pytest.mark.parametrize("kind", [RewindingReader, RangeReader])
def test_a_reader_that_was_used_is_rewound(kind: type[Reader]) -> None:
    reader = kind(list(source_generator()))
    reader.get_next()
    assert opened(reader).n_samples == 6


def test_any_object_with_get_next_will_do() -> None:
    class Bare:
        get_next = Reader(list(source_generator())).get_next

    assert opened(Bare()).n_samples == 6


def test_a_reader_whose_set_range_is_not_implemented_is_read_from_where_it_stands() -> None:
    reader = Reader(list(source_generator()))
    reader.get_next()
    assert opened(reader).n_samples == 4


def test_the_first_samples_of_an_endless_iterable_are_taken_and_no_more_is_read() -> None:
    drawn = 0

    def endless() -> Iterator[dict[str, Array]]:
        nonlocal drawn
        while True:
            drawn += 1
            yield {"x": np.ones((4, 3), np.float32), "label": np.arange(4)}

    batches = opened(endless(), samples=6)
    assert (drawn, batches.sizes) == (2, (4, 2))
    assert [len(batch["x"]) for batch in batches] == [4, 2]
    np.testing.assert_array_equal(batches.labels, [0, 1, 2, 3, 0, 1])


def test_a_batch_of_fixed_size_that_exceeds_the_samples_is_left_out() -> None:
    inputs = spec(shape=(4, 3))
    assert opened([rows(4, 3)] * 3, inputs, samples=6).sizes == (4,)
    with pytest.raises(DataError, match="no batch of at most 3 samples was found"):
        opened([rows(4, 3)], inputs, samples=3)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ([], "batches: no batch was found; give at least one"),
        (3, "data of type int cannot be read; give a path"),
        ([None], "batch 0 is of type NoneType; give arrays by input name"),
        ([rows(2, 3), rows(2, 4)], r"batch 1: input 'x' has shape \(2, 4\)"),
        ([{"x": rows(2, 3), "y": np.arange(3)}], "batch 0: 'y' has 3 labels for 2 samples"),
        (
            [{"x": rows(2, 3), "y": np.arange(2)}, {"x": rows(2, 3)}],
            "batch 1: labels are missing, other batches have them",
        ),
    ],
)
def test_batches_that_cannot_be_used_are_refused(source: object, match: str) -> None:
    with pytest.raises(DataError, match=match):
        opened(source)


def test_a_batch_of_another_size_than_the_model_fixes_is_refused() -> None:
    with pytest.raises(DataError, match="give batches of 4, or one stacked array"):
        opened([rows(2, 3)], spec(shape=(4, 3)))


def test_a_bare_array_is_refused_by_a_model_with_two_inputs() -> None:
    with pytest.raises(DataError, match="has 2 inputs; give them by name: 'x', 'z'"):
        opened(rows(2, 3), spec(), spec("z"))


def test_batch_axes_of_one_symbolic_name_must_agree() -> None:
    arrays = {"x": rows(2, 3), "z": rows(5, 3)}
    with pytest.raises(DataError, match="'z' has 5 samples and 'x' has 2"):
        opened([arrays], spec(), spec("z"))
    assert opened([arrays], spec(), spec("z", ("M", 3))).n_samples == 2


# --- folders and files


def test_a_npz_file_is_a_stack_of_pixels_and_their_scale(tmp_path: Path) -> None:
    path = tmp_path / "calibration.npz"
    image = rows(10, 1, 4, 4, dtype="uint8")
    scale = np.float32(1 / 255)
    np.savez(path, **{"image": image, "image.scale": scale, "label": np.arange(10)})
    batches = opened(path, spec("image", ("N", 1, 4, 4)))
    assert batches.origin == "calibration.npz (10 samples)"
    for _ in range(2):
        values = joined(batches, "image")
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, image * scale)
    np.testing.assert_array_equal(batches.labels, np.arange(10))


def test_a_npy_file_feeds_the_only_input(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", rows(6, 3))
    batches = opened(str(tmp_path / "a.npy"))
    np.testing.assert_array_equal(joined(batches), rows(6, 3))
    assert type(next(iter(batches))["x"]) is np.ndarray


def test_a_folder_gives_a_batch_per_file_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for i in (10, 9):
        np.save(tmp_path / f"sample{i}.npy", np.full((3,), i, np.float32))
    np.savez(tmp_path / "sample11.npz", x=np.full((2, 3), 11, np.float32))
    batches = opened(tmp_path)
    np.testing.assert_array_equal(joined(batches)[:, 0], [9, 10, 11, 11])
    assert batches.origin == f"{tmp_path.name} (4 samples in 3 batches)"


def test_test_data_sets_are_read_one_or_all(tmp_path: Path) -> None:
    for i in range(2):
        folder = tmp_path / f"test_data_set_{i}"
        folder.mkdir()
        (folder / "input_0.pb").write_bytes(
            onnx.numpy_helper.from_array(np.full((1, 3), i, np.float32)).SerializeToString()
        )
        (folder / "output_0.pb").write_bytes(b"not read")
    assert opened(tmp_path).sizes == (1, 1)
    np.testing.assert_array_equal(joined(opened(tmp_path / "test_data_set_1")), [[1, 1, 1]])


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds nothing that is read \(.npz.*test_data_set"):
        opened(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.xyz").write_text("1,2,3")
    with pytest.raises(DataError, match=r"data.xyz is of no kind that is read; give .npz, .npy"):
        opened(tmp_path / "data.xyz")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.npz does not exist; check the path"):
        opened(tmp_path / "none.npz")


def test_a_map_that_was_changed_in_memory_keeps_its_changes(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", 255 * rows(4000, 3))
    stored = np.load(tmp_path / "x.npy", mmap_mode="c")
    stored /= 255
    assert joined(opened({"x": stored})).max() == 3999
    assert stored.max() == 3999


def test_labels_of_several_shapes_are_refused_by_the_file(tmp_path: Path) -> None:
    for i, length in enumerate((5, 6)):
        np.savez(tmp_path / f"{i}.npz", x=rows(2, 3), label=np.zeros((2, length)))
    with pytest.raises(DataError, match=r"1.npz: a label has shape \(6,\), in .*0.npz \(5,\)"):
        opened(tmp_path)


def test_a_ragged_value_of_a_generator_is_refused() -> None:
    ragged = ({"x": [[1.0, 2.0], [3.0]]} for _ in range(2))
    with pytest.raises(DataError, match=r"batch 0: 'x' is no array .* give equal shapes"):
        opened(ragged)


# --- batch axes that are not the first


SOUND, RATE = spec("input", ("batch", 5)), spec("rate", (), "int64")
STATE = spec("state", (2, "batch", 3))


def test_a_stack_is_cut_along_the_axis_that_the_model_names_like_the_batch() -> None:
    state = np.moveaxis(rows(10, 2, 3), 0, 1)
    arrays = {"input": rows(10, 5), "state": state, "rate": np.array(16000)}
    batches = opened(arrays, SOUND, STATE, RATE)
    assert [batch["state"].shape for batch in batches] == [(2, 4, 3), (2, 4, 3), (2, 2, 3)]
    assert [int(batch["rate"]) for batch in batches] == [16000] * 3
    for batch in batches:
        np.testing.assert_array_equal(batch["state"][1, :, 2], batch["input"][:, 0])
    assert batches.notes == ()


@pytest.mark.parametrize("samples", [None, 4])
def test_samples_along_the_first_axis_are_put_along_the_models_batch_axis(
    samples: int | None,
) -> None:
    arrays = {"input": rows(10, 5), "state": rows(10, 2, 3), "rate": np.array(7)}
    batches = opened(arrays, SOUND, STATE, RATE, samples=samples)
    for batch in batches:
        assert batch["state"].flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(batch["state"][1, :, 2], batch["input"][:, 0])
    assert batches.notes == (
        "the samples of input 'state' lay along the first axis and were put along axis 1, where "
        "the model has them",
    )


def test_a_stack_for_a_time_major_input_is_cut_along_its_samples() -> None:
    time_major = spec(shape=(5, "N", 2))
    stack = rows(100, 5, 2)
    for given in (stack, np.moveaxis(stack, 0, 1)):
        batches = opened(given, time_major)
        assert batches.sizes == (4,) * 25
        np.testing.assert_array_equal(next(iter(batches))["x"][3], stack[:4, 3])


def test_inputs_without_the_batch_axis_are_given_whole() -> None:
    boxes = spec("boxes", ("anchors", 4))
    arrays = {"x": rows(10, 3), "boxes": rows(10, 4)}  # the same number, by chance
    assert [len(batch["boxes"]) for batch in opened(arrays, spec(), boxes)] == [10, 10, 10]
    fixed = spec("boxes", (7, 4))
    arrays = {"x": rows(10, 3), "boxes": rows(7, 4)}
    assert [len(batch["boxes"]) for batch in opened(arrays, spec(), fixed)] == [7, 7, 7]


def test_a_state_of_one_for_many_samples_is_refused_with_both_numbers() -> None:
    arrays = {"input": rows(10, 5), "state": rows(2, 1, 3), "rate": np.array(7)}
    with pytest.raises(DataError, match="'state' has 1 samples and 'input' has 10"):
        opened(arrays, SOUND, STATE, RATE)


def test_batches_given_are_cut_along_the_models_batch_axis() -> None:
    batch = {"input": rows(4, 5), "state": np.ones((2, 4, 3), np.float32), "rate": 7}
    batches = opened([batch, batch], STATE, SOUND, RATE, samples=6)
    assert batches.sizes == (4, 2)
    assert [batch["state"].shape for batch in batches] == [(2, 4, 3), (2, 2, 3)]


def test_a_value_that_is_nan_is_counted_along_the_batch_axis() -> None:
    state = np.moveaxis(rows(10, 2, 3), 0, 1).copy()
    state[1, 6, 2] = np.nan
    with pytest.raises(DataError, match="'state' holds NaN or infinity as float32 in sample 6"):
        opened({"input": rows(10, 5), "state": state, "rate": 7}, SOUND, STATE, RATE)


def test_scales_per_channel_stand_behind_the_samples() -> None:
    scale = np.array([1, 10], np.float32)
    batches = opened({"x": rows(6, 5, 2, dtype="uint8"), "x.scale": scale}, spec(shape=(5, "N", 2)))
    np.testing.assert_array_equal(next(iter(batches))["x"][0], rows(4, 2) * scale)


# --- models that take one sample a call


IMAGE = spec(shape=(3, 4, 4))


def test_a_stack_for_a_model_without_a_batch_axis_gives_one_sample_a_call() -> None:
    arrays = {"x": rows(6, 3, 4, 4), "label": np.arange(6)}
    batches = opened(arrays, IMAGE)
    assert batches.sizes == (1,) * 6
    np.testing.assert_array_equal([batch["x"] for batch in batches], rows(6, 3, 4, 4), strict=True)
    np.testing.assert_array_equal(batches.labels, np.arange(6))


def test_scalars_and_vectors_without_a_batch_axis_are_stacked_too() -> None:
    inputs = spec(shape=(3,)), spec("gain", ()), spec("seed", (1,))
    arrays = {"x": rows(6, 3), "gain": np.arange(6.0), "seed": np.zeros(1)}
    batches = opened(arrays, *inputs)
    assert batches.sizes == (1,) * 6
    assert [(batch["x"].shape, batch["gain"].shape) for batch in batches] == [((3,), ())] * 6
    assert [float(batch["gain"]) for batch in batches] == [0, 1, 2, 3, 4, 5]


def test_samples_that_were_stacked_with_a_batch_axis_of_their_own_lose_it() -> None:
    assert opened(rows(6, 1, 3)).sizes == (4, 2)
    assert [batch["x"].shape for batch in opened(rows(6, 1, 3), spec(shape=(1, 3)))] == [(1, 3)] * 6


def test_batches_of_more_samples_than_the_model_takes_are_cut_to_fit() -> None:
    given = [{"x": rows(6, 3), "y": np.arange(6)}] * 2
    batches = opened(given, spec(shape=(1, 3)), samples=8)
    assert batches.sizes == (1,) * 8
    np.testing.assert_array_equal(batches.labels, [0, 1, 2, 3, 4, 5, 0, 1])
    np.testing.assert_array_equal(joined(batches)[:, 0], [0, 1, 2, 3, 4, 5, 0, 1])
    assert [batch["x"].shape for batch in opened([rows(5, 3, 4, 4)], IMAGE)] == [(3, 4, 4)] * 5


def test_a_shape_that_fits_no_way_names_both_that_would() -> None:
    with pytest.raises(DataError, match=r"wants \(\?, 4, 4\), or a stack .* \(3, 4, 4\); reshape"):
        opened(rows(6, 3, 5, 5), IMAGE)
