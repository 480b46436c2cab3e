"""Follows values that a Loop or Scan hands from step to step unchanged."""

from __future__ import annotations

from onnx_lobs.graph.model import DEFAULT_DOMAINS, Scope, attributes

LOOPS = ("Loop", "Scan")


def carried_from(scope: Scope, name: str) -> str | None:
    """Return the outer name of a body's input that is the same in every step, or None.

    Exporters hand weights to a loop so: the body reads an input and gives it back as it is.

    Parameters
    ----------
    scope
        The body of a Loop or Scan.
    name
        One of its inputs; that of a sequence that a Scan cuts up is none that is carried.
    """
    owner = scope.owner
    if owner is None or owner.op_type not in LOOPS or owner.domain not in DEFAULT_DOMAINS:
        return None
    names = [value.name for value in scope.graph.input]
    # in operator set 8, Scan reads the lengths first, and has a batch axis of its own
    if name not in names or len(names) != len(owner.input):
        return None
    place = names.index(name)
    first, last = _carried(scope)
    if not first <= place < last:
        return None
    # of a Loop the body gives the condition alone first, and reads a counter besides
    given = scope.graph.output[place - first + (1 if owner.op_type == "Loop" else 0)].name
    while given != name:
        maker = scope.producers.get(given)
        if maker is None or maker.op_type != "Identity" or maker.domain not in DEFAULT_DOMAINS:
            return None
        given = maker.input[0]
    return str(owner.input[place])


def _carried(scope: Scope) -> tuple[int, int]:
    """Return the places of the first of the inputs that are carried, and of the one after them."""
    count = len(scope.graph.input)
    assert scope.owner is not None
    if scope.owner.op_type == "Loop":
        return 2, count
    sequences = attributes(scope.owner)["num_scan_inputs"]
    assert isinstance(sequences, int)
    return 0, count - sequences
