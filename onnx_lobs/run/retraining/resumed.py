"""Takes what a retraining came to from the cache of a run, or puts it there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from onnx_lobs.data.batches import Batches
from onnx_lobs.options.retraining import RetrainOptions
from onnx_lobs.run.log import Log
from onnx_lobs.run.resume.cache import Cache, Entry
from onnx_lobs.run.resume.fingerprint import data_hash, digest, model_hash, program_hash
from onnx_lobs.run.retraining.opened import OpenedNetworks
from onnx_lobs.run.retraining.parameters import MovingTensor
from onnx_lobs.run.retraining.retrain import Remember
from onnx_lobs.run.retraining.training import Trained
from onnx_lobs.run.setup import Setup


def remembering(
    setup: Setup,
    opened: OpenedNetworks,
    samples: tuple[Batches, Batches],
    how: RetrainOptions,
    log: Log,
) -> Remember:
    """Return what takes a retraining from the run's cache, or puts it there.

    Parameters
    ----------
    setup
        Of the run; its options name the cache, if there is one.
    opened, samples, how
        What is retrained, as :func:`onnx_lobs.run.retraining.retrain.retrain_networks` takes it.
    log
        Told what is wrong with the cache.
    """
    config = setup.config
    if config.cache is None:
        return lambda tensors, make: make()
    cache = Cache(config.cache)
    assert opened.dense is not None
    key = digest(
        "retraining",
        program_hash(),
        model_hash(dataclasses.replace(setup.loaded, proto=opened.pruned.proto)),
        model_hash(dataclasses.replace(setup.loaded, proto=opened.dense.proto)),
        [data_hash(some) for some in samples],
        [None if some.labels is None else some.labels.tolist() for some in samples],
        dataclasses.asdict(how),
        config.seed,
    )

    def remember(tensors: Sequence[MovingTensor], make: Callable[[], Trained]) -> Trained:
        found = cache.find(key, lambda entry: _to_trained(entry, tensors))
        if found is None:
            found = make()
            cache.save(key, _from_trained(found, tensors))
        log.warn(*cache.warnings)
        return found

    return remember


def _from_trained(done: Trained, tensors: Sequence[MovingTensor]) -> Entry:
    arrays = {f"value{i}": done.values[tensor.name] for i, tensor in enumerate(tensors)}
    return Entry(arrays, {"losses": [list(look) for look in done.losses], "best": done.best})


def _to_trained(entry: Entry, tensors: Sequence[MovingTensor]) -> Trained:
    """Return what an entry holds; ValueError where its arrays are none of these tensors'."""
    values = {}
    for i, tensor in enumerate(tensors):
        value = entry.arrays[f"value{i}"]
        if value.shape != tensor.start.shape or not np.isfinite(value).all():
            raise ValueError("it holds values of other tensors")
        values[tensor.name] = value
    losses = tuple((int(step), float(loss)) for step, loss in entry.record["losses"])
    best = int(entry.record["best"])
    if best not in dict(losses):
        raise ValueError("it names a step that was not looked at")
    return Trained(values, losses, best)
