"""onnxruntime sessions: providers, options, errors in one place."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ConfigError, InferenceError, ModelError, did_you_mean
from onnx_lobs.graph.files.native_path import NativePath
from onnx_lobs.graph.run.arena import share_arena
from onnx_lobs.graph.run.lending import lend_weights

PROVIDER_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

CUDA = PROVIDER_NAMES["cuda"]
# float32 is float32 on the device too; nothing is timed there to choose how to convolve, which
# takes seconds in each of many sessions and may end otherwise in the next
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}

# the names differ between versions of onnxruntime, so they are collected, not listed
ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    kind
    for kind in vars(ort_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)
# RuntimeError: a type that NumPy does not have
RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, ValueError, RuntimeError)
MAX_PROTO_BYTES = 2**31 - 1
# threads of onnxruntime wait for work by spinning: between runs the cores belong to NumPy
STOP_SPINNING = "session.force_spinning_stop"
# Ends the process (onnxruntime 1.32: a float16 MatMul behind a Transpose). All it does is to cast
# half precision weights when the model is loaded and not when it runs: the values are the same.
CRASHING = ("FuseFp16InitializerToFp32NodeTransformer",)


def find_provider(name: str) -> str:
    """Return the full name of an execution provider that is there.

    Raises
    ------
    ConfigError
        When this onnxruntime has no such provider; the message lists those it has.
    """
    available = ort.get_available_providers()
    in_any_case: dict[str, str] = {**{one.lower(): one for one in available}, **PROVIDER_NAMES}
    full = in_any_case.get(name.lower(), name)
    if full not in available:
        remedy = "install onnxruntime-gpu, or " if name.lower() == "cuda" else ""
        raise ConfigError(
            f"execution provider {name!r} is not in this onnxruntime; "
            f"{did_you_mean(name, PROVIDER_NAMES)}{remedy}use one of {', '.join(available)}, or "
            "install an onnxruntime that has it"
        )
    if full == CUDA:
        _load_cuda()
    return full


@lru_cache(maxsize=1)
def _load_cuda() -> None:
    """Load CUDA's libraries from where pip installs them; elsewhere onnxruntime looks itself.

    What it prints when it finds none is left to the error of the session that needs them.
    """
    with redirect_stdout(io.StringIO()):
        ort.preload_dlls()


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
    lent
        Weights that a ModelProto only describes (:mod:`onnx_lobs.graph.run.lending`).
    light
        Whether to load without optimising: quick, and external weights are only mapped.
    exact
        For graphs with sums (:mod:`onnx_lobs.calibration.gram_nodes`): nodes run in the order in
        which they stand.
    as_float
        Whether int8 weights become floating when the model is loaded, once. Else onnxruntime does
        that at every run, and may round what they are multiplied with to 8 bits too.
    shown
        Values of the main graph of a ModelProto to give beside its outputs.

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
        lent: Mapping[str, Array] | None = None,
        light: bool = False,
        exact: bool = False,
        as_float: bool = False,
        shown: Sequence[str] = (),
    ) -> None:
        self._place = NativePath()  # read by the session as long as it lives
        options = ort.SessionOptions()
        options.log_severity_level = 4
        share_arena(options)
        options.add_session_config_entry(STOP_SPINNING, "1")
        if light:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry("session.disable_prepacking", "1")
        if as_float:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        if exact:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        if folder is not None:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", self._place.text(folder)
            )
        source: str | bytes
        self._lent: dict[str, Array] = {}  # read by the session as long as it lives
        if isinstance(model, Path):
            source = self._place.text(model)
        else:
            rest, self._lent = lend_weights(model)
            rest.graph.output.extend(onnx.ValueInfoProto(name=name) for name in shown)
            self._lent |= lent or {}
            source = _serialize(rest)
            del rest
            values = [ort.OrtValue.ortvalue_from_numpy(value) for value in self._lent.values()]
            options.add_external_initializers(list(self._lent), values)
        chain = _providers(provider)
        try:
            self._session = ort.InferenceSession(
                source, options, providers=chain, disabled_optimizers=CRASHING
            )
        except ORT_ERRORS as error:
            raise ModelError(f"onnxruntime cannot load the model: {one_line(error)}") from error
        if provider not in self._session.get_providers():
            raise ConfigError(f"{provider} could not be started; {_remedy(provider)}")
        self.inputs = [i.name for i in self._session.get_inputs()]
        self._float32 = {i.name for i in self._session.get_inputs() if i.type == "tensor(float)"}
        self.outputs = [o.name for o in self._session.get_outputs()]

    def run(
        self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> dict[str, Array]:
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
        try:
            values = self._session.run(names, fed)
        except RUN_ERRORS as error:
            shapes = ", ".join(f"{k} {np.shape(v)}" for k, v in fed.items())
            raise InferenceError(
                f"onnxruntime failed on inputs of shape {shapes}: {one_line(error)}"
            ) from error
        # an input that is an output too is given back as it was fed: up to 1.24 onnxruntime gives
        # a view of memory that nobody keeps
        return {name: fed.get(name, value) for name, value in zip(names, values, strict=True)}

    def _fitted(self, name: str, value: Array) -> Array:
        wide = getattr(getattr(value, "dtype", None), "name", "") in ("float64", "bfloat16")
        return value.astype(np.float32) if wide and name in self._float32 else value


def _providers(provider: str) -> list[str | tuple[str, dict[str, str]]]:
    """Return the provider, with its options, and the CPU for what it cannot run."""
    cpu = PROVIDER_NAMES["cpu"]
    own = (provider, CUDA_OPTIONS) if provider == CUDA else provider
    return [own] if own == cpu else [own, cpu]


def _remedy(provider: str) -> str:
    what = "its driver"
    if provider == CUDA:
        what = "the GPU's driver, and CUDA's libraries (pip install 'onnxruntime-gpu[cuda,cudnn]')"
    return f"check {what}, or use cpu"


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
