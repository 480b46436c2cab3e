"""Every rule couples what goes together: removing channels that nobody reads changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import coupled_networks as nets
import numpy as np
import onnx
import pytest
from build_onnx import run
from coupled_networks import MIDDLES, Middle, between, in_a_row, rows_of_middles, samples
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.columns import column_channels, refit_reasons
from onnx_lobs.layers.channels.coupling import Coupling, find_coupling
from onnx_lobs.layers.channels.observed import observe
from onnx_lobs.layers.channels.removal import remove_channels
from onnx_lobs.layers.channels.rules.table import RULES
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.write import round_weight, write_weight

SAME = 2e-6  # of the largest output: sums of fewer terms round otherwise
SAME_IN_A_ROW = 4e-6  # the same behind up to ten layers: each model is up to 2e-6 off float64

WIDTHS = {
    "concat": [5, 12], "split": [5, 7], "equal_split": [6], "cut": [5, 7], "gather": [3, 8],
    "grouped": [3, 4], "transposed": [5, 12], "depth_to_space": [3], "depth_to_space_crd": [3],
    "transposed_groups": [3, 4], "pixel_shuffle": [3], "channel_shuffle": [4], "residual": [7, 12],
    "gate": [6, 12], "turned_there_and_back": [9, 12],
    "einsum": [9, 12], "two_sizes_read": [9, 12],
}  # fmt: skip


def coupling_of(proto: ModelProto, rank: int = 4) -> Coupling:
    index = Model(proto, None)
    layers, skips = find_layers(index)
    observed = observe(index, samples(rank))
    return find_coupling(
        observed, refit_reasons(index, layers, {skip.node: skip.reason for skip in skips})
    )


def some_channels(coupling: Coupling, rng: np.random.Generator) -> list[int]:
    gone: list[int] = []
    for group in coupling.groups:
        count = int(rng.integers(1, len(group.channels)))
        gone += rng.choice(group.channels, count, replace=False).tolist()
    return gone


def unread(proto: ModelProto, coupling: Coupling, gone: list[int]) -> ModelProto:
    """Return a copy in which no product reads the channels."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    index = Model(copy, None)
    for layer in find_layers(index)[0]:
        columns = column_channels(coupling, layer)
        if columns is not None:
            tensor = index.constant(index.main, layer.weight)
            assert tensor is not None
            matrix = layer.matrix(index.value(tensor))
            matrix *= ~np.isin(columns, gone)[:, None, :]
            write_weight(index, layer, round_weight(layer, matrix))
    return copy


def check_lossless(proto: ModelProto, seed: int = 0, rank: int = 4, same: float = SAME) -> Coupling:
    coupling = coupling_of(proto, rank)
    gone = some_channels(coupling, np.random.default_rng(seed))
    assert gone
    before = unread(proto, coupling, gone)
    after = remove_channels(find_coupling(observe(Model(before, None), samples(rank))), gone)
    onnx.checker.check_model(after, full_check=True)
    feeds = samples(rank, seed=seed + 9)
    wanted, found = (run(each, **feeds)["y"] for each in (before, after))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= same * np.abs(wanted).max()
    assert after.ByteSize() < before.ByteSize()
    assert [i.name for i in after.graph.input] == [i.name for i in before.graph.input]
    return coupling


@pytest.mark.parametrize("middle", MIDDLES, ids=lambda middle: middle.__name__)
def test_removing_what_nobody_reads_changes_nothing(middle: Middle) -> None:
    coupling = check_lossless(between(middle))
    widths = sorted(len(group.channels) for group in coupling.groups)
    if middle.__name__ in WIDTHS:
        assert widths == [w for w in WIDTHS[middle.__name__] if w > 1]
    else:
        assert widths == [nets.CHANNELS]


@pytest.mark.parametrize("build", [nets.flattened, nets.flattened_last])
def test_a_channel_is_a_run_of_flattened_columns(build: Callable[[], ModelProto]) -> None:
    (group,) = check_lossless(build()).groups
    assert len(group.channels) == nets.CHANNELS
    assert nets.SIZE**2 in {count for _, count in group.spans}


def test_heads_and_inner_widths_of_a_transformer_go_as_wholes() -> None:
    coupling = check_lossless(nets.attention(), rank=3)
    assert sorted(len(group.channels) for group in coupling.groups) == [3, 16]
    reasons = {group.reason for group in coupling.pinned}
    assert any("LayerNormalization" in reason for reason in reasons)


def test_heads_of_einsums_go_as_wholes() -> None:
    (group,) = check_lossless(nets.einsum_attention(), rank=3).groups
    assert len(group.channels) == 3


@nets.WITH_ATTENTION
def test_heads_of_the_operator_attention_go_as_wholes() -> None:
    (group,) = check_lossless(nets.fused_attention(), rank=3).groups
    assert len(group.channels) == 3


def test_groups_of_a_group_norm_go_as_wholes() -> None:
    (group,) = check_lossless(nets.group_norm()).groups
    assert len(group.channels) == 4


@given(rows_of_middles(), st.integers(0, 99))
def test_random_networks_lose_channels_that_nobody_reads(middles: list[Middle], seed: int) -> None:
    check_lossless(in_a_row(middles, seed), seed, same=SAME_IN_A_ROW)


def test_every_rule_is_tried() -> None:
    networks = [between(middle) for middle in MIDDLES]
    networks += [nets.flattened(), nets.attention(), nets.group_norm()]
    networks += [nets.fused_attention()] if nets.HAS_ATTENTION else []
    tried = {node.op_type for proto in networks for node in proto.graph.node}
    missing = set(RULES) - tried - {op for op in RULES if RULES[op] is RULES["Relu"]}
    alike = [RULES[op] for op in tried if op in RULES]
    missing -= set() if nets.HAS_ATTENTION else {"Attention"}
    assert {op for op in missing if RULES[op] not in alike} == set()
