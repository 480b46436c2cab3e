"""Says what to do where jinja2 is missing; this module loads nothing, for the command line."""

from __future__ import annotations

NO_JINJA = (
    "a report as .html needs jinja2, which is not installed; pip install 'onnx-lobs[report]', or "
    "name the report .md or .json"
)
