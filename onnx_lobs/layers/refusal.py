"""Says why a node with weights is not pruned: a kind, which programs read, and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class RefusalKind(Enum):
    """Why a node is left as it is; the value stands in reports."""

    # the options leave it
    EXCLUDED = "excluded"
    NOT_INCLUDED = "not included"
    OPERATOR = "operator not asked for"
    DEPTHWISE = "depthwise"
    SMALL = "few weights"
    FIXED_TRANSFORM = "fixed transform"
    # the operator is not one that can be pruned
    RECURRENT = "recurrent"
    FUSED = "fused"
    FUNCTION = "function"
    UNSUPPORTED = "unsupported operator"
    LOOP = "in a loop"
    # its weight is not one that can change
    QUANTISED = "quantised weight"
    DYNAMIC = "dynamic weight"
    NO_WEIGHT = "no weight"
    COMPUTED = "weight computed from constants"
    UNSUITED = "unsuited steps to the weight"
    BOTH_CONSTANT = "both operands constant"
    NO_EFFECT = "no effect"
    DEAD = "no output depends on it"
    NOT_FLOATING = "weight not floating"
    EMPTY = "empty weight"
    MISFIT = "weight does not fit its node"
    TOO_WIDE = "too many inputs"
    READ_ELSEWHERE = "weight read elsewhere"
    TIED = "weight tied in several orientations"
    # the data say nothing of it
    UNREACHED = "never reached"


@dataclass(frozen=True)
class Refusal:
    """Why a node with weights is not pruned.

    Parameters
    ----------
    kind
        What programs decide by.
    reason
        A sentence for people.
    maker
        Operator that makes the weight, where that is why; else "".
    """

    kind: RefusalKind
    reason: str
    maker: str = ""
