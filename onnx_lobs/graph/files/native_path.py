"""Says a path so that libraries in C++ find it: they take text in UTF-8 and nothing else.

Python holds bytes of a path that its own encoding cannot express as lone surrogates, which no
library takes. In a locale without UTF-8 that is every character beyond ASCII.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path

from onnx_lobs.errors import ModelError


class NativePath:
    """Gives paths as UTF-8 text, which hold as long as this object lives.

    A path whose bytes are UTF-8 is given as it is. Any other is reached by a link to its folder,
    in a temporary folder of its own that goes with this object.
    """

    def __init__(self) -> None:
        self._links: Path | None = None

    def text(self, path: Path) -> str:
        """Return the path as text that any library can encode.

        Raises
        ------
        ModelError
            When neither the path nor a link to it can be said in UTF-8.
        """
        said = said_in_utf8(path)
        if said is not None:
            return said
        is_folder = path.is_dir()
        name = "" if is_folder else said_in_utf8(Path(path.name))
        linked = None
        if name is not None:
            try:
                linked = said_in_utf8(self._link(path if is_folder else path.parent))
            except OSError as error:
                raise ModelError(
                    f"the path {str(path)!r} is not UTF-8, and no link to it can be made "
                    f"({error.strerror}); rename it"
                ) from error
        if name is None or linked is None:
            raise ModelError(
                f"the path {str(path)!r} is not UTF-8, and onnxruntime opens no other; rename it"
            )
        return os.path.join(linked, name) if name else linked

    def _link(self, folder: Path) -> Path:
        """Return a link to a folder."""
        if self._links is None:
            self._links = Path(tempfile.mkdtemp(prefix="onnx-lobs-links-"))
            weakref.finalize(self, shutil.rmtree, self._links, ignore_errors=True)
        link = self._links / str(len(os.listdir(self._links)))
        link.symlink_to(folder.resolve(), target_is_directory=True)
        return link


def said_in_utf8(path: Path) -> str | None:
    """Return the path as UTF-8 text, or None where its bytes are none.

    >>> said_in_utf8(Path("models/größe.onnx"))
    'models/größe.onnx'
    """
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return None
