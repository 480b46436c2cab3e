"""Chooses how a run's advance is shown: bars on terminals and in notebooks, lines elsewhere."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from onnx_lobs.report.lines import telling_lines
from onnx_lobs.report.progress import Progress, as_progress

if TYPE_CHECKING:
    from rich.console import Console

Told = Progress | Callable[[str, int, int], object] | bool | None
_NOTEBOOK = "ZMQInteractiveShell"  # the shell behind Jupyter; that of a terminal has another name


@contextmanager
def show_progress(console: Console, *, wanted: bool = True) -> Iterator[Progress | None]:
    """Show a run's advance while the context lasts.

    Parameters
    ----------
    console
        Of stderr. A terminal, and a notebook that can, gets bars, which are removed at the end; a
        pipe, or a terminal that cannot move its cursor, gets lines.
    wanted
        False shows nothing, and the context gives None.
    """
    if not wanted:
        yield None
    elif _moves(console):
        from onnx_lobs.report.bars import showing_bars

        with showing_bars(console) as bars:
            yield bars
    else:
        with telling_lines(lambda line: _write(console, line)) as lines:
            yield lines


@contextmanager
def telling(told: Told) -> Iterator[Progress]:
    """Tell of a run's advance while the context lasts.

    Parameters
    ----------
    told
        An object with ``start(phase, total)`` and ``advance(n)``, or a function, called as
        ``f(phase, done, total)``. True shows bars or lines on stderr, False nothing; None shows
        bars in a notebook.

    Raises
    ------
    ConfigError
        When it is none of these.
    """
    wanted = in_notebook() if told is None else told
    if wanted is True:
        from rich.console import Console

        with show_progress(Console(stderr=True, highlight=False)) as progress:
            yield as_progress(progress)
    else:
        yield as_progress(None if wanted is False else wanted)


def in_notebook() -> bool:
    """Whether the code runs in a Jupyter notebook."""
    shell = getattr(builtins, "get_ipython", None)
    return shell is not None and type(shell()).__name__ == _NOTEBOOK


def _moves(console: Console) -> bool:
    """Whether a console can redraw its last lines; notebooks need a package for it."""
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.file.isatty() and not console.is_dumb_terminal


def _write(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.file.flush()
