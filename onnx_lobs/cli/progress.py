"""Shows what a verb does while it runs: progress and log on stderr, and a log in a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_lobs.cli.screen import Screen, one_line
from onnx_lobs.errors import ConfigError
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.showing import show_progress

if TYPE_CHECKING:
    from rich.console import Console

LOGGER = "onnx_lobs"
FIRST_LINE = "onnx-lobs log"  # by which a file is known as one that may be added to
_FORM = "%(asctime)s %(levelname)s %(message)s"


@contextmanager
def showing(screen: Screen, console: Console | None = None) -> Iterator[Progress | None]:
    """Show progress, and write the log where it is asked for, while the context lasts.

    Raises
    ------
    ConfigError
        When the log file cannot be written, or is a file of another kind.
    """
    console = console or screen.console(stderr=True)
    with ExitStack() as stack:
        if screen.log_file is not None:
            stack.enter_context(_logging(_file_handler(screen.log_file), logging.DEBUG))
        if screen.verbose:
            stack.enter_context(_logging(_ConsoleHandler(console), logging.INFO))
        yield stack.enter_context(show_progress(console, wanted=not screen.quiet))


class _ConsoleHandler(logging.Handler):
    """Prints records above the bars of a console; warnings are printed in any case."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.addFilter(lambda record: record.levelno < logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        line = one_line(record.getMessage())
        self._console.print(line, markup=False, soft_wrap=True, style="dim")


def _file_handler(path: Path) -> logging.Handler:
    """Return what writes to a new file, or adds to an earlier log."""
    try:
        if path.exists():
            with path.open("rb") as file:
                if file.read(len(FIRST_LINE)) != FIRST_LINE.encode():
                    raise ConfigError(
                        f"log file {str(path)!r} exists and is no log of onnx-lobs; name another"
                    )
        else:
            path.write_text(f"{FIRST_LINE}\n", encoding="utf-8")
        handler = logging.FileHandler(path, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(
            f"log file {str(path)!r} cannot be written: {error.strerror}; choose another place"
        ) from error
    handler.setFormatter(logging.Formatter(_FORM))
    return handler


@contextmanager
def _logging(handler: logging.Handler, level: int) -> Iterator[None]:
    """Send what the package logs to a handler while the context lasts."""
    logger = logging.getLogger(LOGGER)
    before = logger.level
    handler.setLevel(level)
    logger.addHandler(handler)
    logger.setLevel(min(level, before or level))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()
