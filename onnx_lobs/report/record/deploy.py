"""Records what a pruned model becomes on the runtime or the device that it was pruned for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeployRecord:
    """What was made for a target, and what to expect of it.

    Parameters
    ----------
    target
        Its name; None where only a chip was named.
    expect
        What zeros buy there, in sentences.
    files
        What was written beside the model.
    command
        What to type next, or nothing.
    chip, fit
        The part, and whether the network fits: ``FITS``, ``TIGHT``, ``TOO BIG``; or None.
    flash_bytes, ram_bytes
        That the C code takes; None without.
    multiplications
        Of one inference of the C code by weights that are not zero; None without.
    """

    target: str | None
    expect: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    chip: str | None = None
    fit: str | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    multiplications: int | None = None
