"""onnxruntime sessions: providers, options, errors in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from onnx_lobs.errors import ConfigError, InferenceError, ModelError
from onnx_lobs.memory.pool import Pool

Array = NDArray[Any]
PROVIDER_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

# the names differ between versions of onnxruntime, so they are collected, not listed
ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    kind
    for kind in vars(ort_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)
RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, ValueError)
POOL_ERRORS: tuple[type[Exception], ...] = (*RUN_ERRORS, RuntimeError)
UNWRITTEN = 0xFF  # every byte: NaN in floats, -1 in integers
MAX_PROTO_BYTES = 2**31 - 1


def find_provider(name: str) -> str:
    """Return the full name of an execution provider that is there.

    Raises
    ------
    ConfigError
        When this onnxruntime has no such provider; the message lists those it has.
    """
    full = PROVIDER_NAMES.get(name.lower(), name)
    available = ort.get_available_providers()
    if full not in available:
        remedy = "install onnxruntime-gpu, or " if name.lower() == "cuda" else ""
        raise ConfigError(
            f"execution provider {name!r} is not in this onnxruntime; "
            f"{remedy}use one of {', '.join(available)}"
        )
    return full


class Session:
    """A model ready to run.

    Parameters
    ----------
    model
        A ModelProto, or the path of a file.
    folder
        Folder of the external data of a ModelProto.
    provider
        Full name from :func:`find_provider`.
    light
        Whether to load without optimising: quick, and external weights are only mapped.
    exact
        For graphs with sums (:mod:`onnx_lobs.graph.gram_nodes`): float32 products are in
        float32 on GPUs too, and nodes run in the order in which they stand.
    pool
        Where outputs are written on the CPU: for networks that show so much that handing out
        memory would cost more than the network. None: into new arrays.

    Raises
    ------
    ModelError
        When onnxruntime cannot load the model.
    ConfigError
        When the provider was there but could not be started (a GPU is missing, say).
    """

    def __init__(
        self,
        model: onnx.ModelProto | Path,
        *,
        folder: Path | None = None,
        provider: str = "CPUExecutionProvider",
        light: bool = False,
        exact: bool = False,
        pool: Pool | None = None,
    ) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        if light:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry("session.disable_prepacking", "1")
        if exact:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        if folder is not None:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(folder)
            )
        source = str(model) if isinstance(model, Path) else _serialize(model)
        chain = _providers(provider, exact=exact)
        try:
            self._session = ort.InferenceSession(source, options, providers=chain)
        except ORT_ERRORS as error:
            raise ModelError(f"onnxruntime cannot load the model: {one_line(error)}") from error
        if provider not in self._session.get_providers():
            raise ConfigError(f"{provider} could not be started; check its driver, or use cpu")
        self.inputs = [i.name for i in self._session.get_inputs()]
        self._float32 = {i.name for i in self._session.get_inputs() if i.type == "tensor(float)"}
        self.outputs = [o.name for o in self._session.get_outputs()]
        self._pool = pool if provider == PROVIDER_NAMES["cpu"] else None
        self._made: dict[tuple[Any, ...], list[Array]] = {}  # by shapes fed: outputs' like
        self._proven: set[tuple[Any, ...]] = set()  # of these, those that ran in the pool

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return the outputs by name.

        Parameters
        ----------
        feeds
            By input name; names that are no inputs are ignored. What a model takes that was
            made to run in float32 (:mod:`onnx_lobs.graph.normalise`) is converted to it.
        outputs
            Names of the outputs wanted; None: all.

        Raises
        ------
        InferenceError
            When onnxruntime refuses the data or fails while running.
        """
        names = list(self.outputs if outputs is None else outputs)
        fed = {name: self._fitted(name, feeds[name]) for name in self.inputs if name in feeds}
        key = *names, *(np.shape(value) for value in fed.values())
        try:
            values = self._run_pooled(key, names, fed)
            if values is None:
                values = self._session.run(names, fed)
                self._remember(key, fed, values)
        except RUN_ERRORS as error:
            shapes = ", ".join(f"{k} {np.shape(v)}" for k, v in fed.items())
            raise InferenceError(
                f"onnxruntime failed on inputs of shape {shapes}: {one_line(error)}"
            ) from error
        return dict(zip(names, values, strict=True))

    def _remember(self, key: tuple[Any, ...], fed: Mapping[str, Any], values: list[Any]) -> None:
        """Remember what outputs inputs of such shapes give, if they can be written to the pool."""
        is_plain = all(map(_is_plain, [*fed.values(), *values]))
        if self._pool is not None and is_plain and set(key[: len(values)]) - fed.keys():
            self._made[key] = [np.broadcast_to(one.dtype.type(0), one.shape) for one in values]

    def _run_pooled(
        self, key: tuple[Any, ...], names: Sequence[str], fed: Mapping[str, Any]
    ) -> list[Any] | None:
        """Return the outputs in memory of the pool; None where their shapes are not known.

        An output whose shape depends on values may have another one than before: onnxruntime
        refuses it, and the session goes on without the pool. So it does where the first run
        leaves an output unwritten, as onnxruntime may one that depends on no input.
        """
        if self._pool is None or key not in self._made:
            return None
        # onnxruntime does not write an input that is shown as an output
        shown = [fed.get(name) for name in names]
        arrays = [
            self._pool.take(like.shape, like.dtype) if value is None else value
            for value, like in zip(shown, self._made[key], strict=True)
        ]
        is_first = key not in self._proven
        binding = self._session.io_binding()
        for name, value in fed.items():
            binding.bind_cpu_input(name, np.asarray(value, order="C"))
        for name, array in zip(names, arrays, strict=True):
            if name in fed:
                continue
            if is_first:
                array.reshape(-1).view(np.uint8).fill(UNWRITTEN)
            kind, place = array.dtype.type, array.ctypes.data
            binding.bind_output(name, "cpu", 0, kind, array.shape, place)
        try:
            self._session.run_with_iobinding(binding)
        except POOL_ERRORS:
            self._pool = None
            return None
        made = [a for a, value in zip(arrays, shown, strict=True) if value is None]
        if is_first and any(map(_is_unwritten, made)):
            self._pool = None
            return None
        self._proven.add(key)
        return arrays

    def _fitted(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        wide = getattr(getattr(value, "dtype", None), "name", "") in ("float64", "bfloat16")
        return value.astype(np.float32) if wide and name in self._float32 else value


def _is_plain(value: Any) -> bool:
    """Whether onnxruntime can read or write a value in place, by its address."""
    return isinstance(value, np.ndarray) and value.size > 0 and value.dtype.kind in "fiub"


def _is_unwritten(array: Array) -> bool:
    """Whether the ends of an array that was filled with UNWRITTEN are as they were."""
    flat = array.reshape(-1)
    ends = np.concatenate([flat[:1], flat[-1:]]).view(np.uint8)
    return bool((ends == UNWRITTEN).all())


def _providers(provider: str, *, exact: bool) -> list[str | tuple[str, dict[str, str]]]:
    """Return the provider, with its options, and the CPU for what it cannot run."""
    cuda, cpu = PROVIDER_NAMES["cuda"], PROVIDER_NAMES["cpu"]
    own = (provider, {"use_tf32": "0"}) if exact and provider == cuda else provider
    return [own] if own == cpu else [own, cpu]


def _serialize(model: onnx.ModelProto) -> bytes:
    size = model.ByteSize()
    if size > MAX_PROTO_BYTES:
        raise ModelError(
            f"the model holds {size:,} bytes, more than protobuf's limit of 2 GiB; "
            "store its weights as external data"
        )
    return bytes(model.SerializeToString())


def one_line(error: Exception) -> str:
    """Return the first line of an exception's message without onnxruntime's prefix."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text.split(" : ", 3)[-1] if text.startswith("[ONNXRuntimeError]") else text
