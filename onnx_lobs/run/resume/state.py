"""Opens what a run takes from its cache and leaves there, and keeps how its zeros were chosen."""

from __future__ import annotations

import dataclasses

from onnx_lobs.calibration import observation_choice, options
from onnx_lobs.options.config import OPTIONS
from onnx_lobs.options.option import Affects, names_that_affect
from onnx_lobs.report.record import AllocationRecord
from onnx_lobs.run.modes import is_sequential
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.resume.cache import Cache, Entry
from onnx_lobs.run.resume.fingerprint import (
    data_hash,
    digest,
    model_hash,
    options_hash,
    program_hash,
)
from onnx_lobs.run.resume.known import BaseKeys, Known
from onnx_lobs.run.resume.plain import build, whole_number
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key
from onnx_lobs.run.zeros import Choice, Zeros

# Options that change nothing that is kept. Whether the model runs in stages depends on memory and
# is part of the keys.
_WORKING = names_that_affect(OPTIONS, Affects.RUN)
# Options that the moments of the dense network do not depend on.
_SOLVING = names_that_affect(OPTIONS, Affects.SOLVING)


class Resume:
    """The cache of one run; without a folder for it, everything is unknown.

    Parameters
    ----------
    setup
        The run. Its options name the folder.
    networks
        Its models, which say whether they run in stages.

    Raises
    ------
    ConfigError
        When the folder cannot be written to.

    Notes
    -----
    Making it reads the whole model and all data once.
    """

    def __init__(self, setup: Setup, networks: Networks) -> None:
        config = setup.config
        self.cache = None if config.cache is None else Cache(config.cache)
        self._layers = setup.layers
        self._keys = BaseKeys("", "")
        if self.cache is not None:
            self._keys = _base_keys(setup, is_staged=networks.is_staged)
        self._in_order = is_sequential(config)
        # the form in which zeros are stored decides what a budget of bytes is
        storage = config.storage if config.budget == "bytes" else None
        self._choice_key = digest("plan", self._keys.layers, storage)
        # zeros chosen in haste are taken up again by a run with the same limit alone
        self._cut_key = digest("cut", self._choice_key, config.time)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the cache held and could not be used, and what it could not take."""
        return () if self.cache is None else tuple(self.cache.warnings)

    def choice(self) -> Choice | None:
        """Return the zeros that an earlier run chose by measurement, and how, if it did."""
        if self.cache is None:
            return None
        found = self.cache.find(self._choice_key, self._to_choice)
        return found or self.cache.find(self._cut_key, self._to_choice)

    def _to_choice(self, entry: Entry) -> Choice:
        sizes = {layer_key(layer): layer.size for layer in self._layers}
        zeros, kind = entry.record["zeros"], entry.record["kind"]
        if set(zeros) != set(sizes) or not (kind is None or isinstance(kind, str)):
            raise ValueError("it chose zeros of other layers")
        chosen = {key: whole_number(zeros[key], size) for key, size in sizes.items()}
        return Choice(chosen, build(AllocationRecord, entry.record["allocation"]), kind)

    def keep_choice(self, choice: Choice) -> None:
        """Keep zeros that were chosen by measurement; others are quickly found again."""
        if self.cache is None or choice.record is None:
            return
        record = {
            "zeros": dict(choice.zeros),
            "allocation": dataclasses.asdict(choice.record),
            "kind": choice.kind,
        }
        key = self._cut_key if choice.record.left_out else self._choice_key
        self.cache.save(key, Entry({}, record))

    def known(self, zeros: Zeros) -> Known:
        """Return what is known of the layers and Grams of a run with these zeros."""
        return Known(self.cache, self._keys, zeros, in_order=self._in_order)


def _base_keys(setup: Setup, *, is_staged: bool) -> BaseKeys:
    """Return hashes of all that the layers, and the Grams, of a run depend on."""
    positions = observation_choice.CHUNK_BYTES, options.LEAST_OBSERVATIONS
    hashes = program_hash(), model_hash(setup.loaded), data_hash(setup.batches)
    run = (*hashes, is_staged, positions)
    return BaseKeys(
        layers=digest(run, options_hash(setup.config, _WORKING)),
        moments=digest(run, options_hash(setup.config, (*_WORKING, *_SOLVING))),
    )
