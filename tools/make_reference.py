"""Writes what follows from the declarations of the options: a page of the guide, and types.

    python tools/make_reference.py            # writes both files anew
    python tools/make_reference.py --check    # exits with 1 when one of them is stale

``onnx_lobs/guide/command-line.md`` lists every option. ``onnx_lobs/options/keywords.py`` tells
editors and type checkers the keyword arguments, which they must be able to read without running
anything.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from onnx_lobs import errors
from onnx_lobs.cli.verb import NAMED, Verb
from onnx_lobs.cli.verbs import VERBS
from onnx_lobs.options.config import OPTIONS
from onnx_lobs.options.option import Affects, Option
from onnx_lobs.options.prose import flags_of, long_flag, with_flags
from onnx_lobs.options.verb_options import COMPARE_OPTIONS, RETRAIN_OPTIONS

PACKAGE = Path(errors.__file__).parent
PAGE = PACKAGE / "guide" / "command-line.md"
KEYWORDS = PACKAGE / "options" / "keywords.py"
WIDTH = 100
OWN = ("score",)  # what evaluate() names itself, as it takes functions too

INTRODUCTION = """\
# Command line

`onnx-lobs MODEL.onnx` prunes a model; it is short for `onnx-lobs prune MODEL.onnx`. The option
`--help` behind a verb lists its options. This page says all that is known of each; it is written
by `tools/make_reference.py` from the declarations in `onnx_lobs/options`.

The keyword arguments of `onnx_lobs.prune`, which are the fields of `onnx_lobs.PruneConfig`, are
options of `prune`. Where Python names or writes one in another way, its entry says how. Other verbs
take some of them too, with the same meaning.
"""
CODES = {
    0: "done",
    1: "nothing can be pruned; a target or a limit is missed",
    130: "stopped by Ctrl-C",
    143: "stopped by SIGTERM",
}
HEADS = {
    Affects.MOMENTS: "The Grams of the dense network, and all that follows, depend on",
    Affects.SOLVING: "Zeros and weights, but not these Grams, depend on",
    Affects.RUN: "Neither depends on",
}


def page() -> str:
    """Return the page of the guide."""
    parts = [INTRODUCTION, *map(verb_section, VERBS), cache_section(), codes_section()]
    return "\n".join(parts)


def verb_section(verb: Verb) -> str:
    """Return a heading, the usage, and every option of a verb, panel by panel."""
    arguments = [
        f"[{_metavar(o)}]" if o.has_default else _metavar(o) for o in verb.options if o.is_argument
    ]
    usage = " ".join(("onnx-lobs", verb.name, *arguments, "[OPTIONS]"))
    lines = [f"## {verb.name}", "", f"`{usage}`", "", f"{verb.run.__doc__}", ""]
    for panel, options in groupby(verb.ordered(), key=lambda option: option.panel):
        lines += [f"### {panel}", ""] if panel else []
        lines += [entry(option, in_full=verb.name == "prune") for option in options]
        lines.append("")
    return "\n".join(lines)


def entry(option: Option, *, in_full: bool) -> str:
    """Return what an option is, as an entry of a list; in full also what few need to know."""
    names = ", ".join(flags_of(option)).replace("/", " / ")
    metavar = _metavar(option)
    head = metavar if option.is_argument else f"{names} {metavar}".strip()
    parts = [f"**`{head}`**: {_marked(option.help)}", _marked(option.more) if in_full else ""]
    if option.kind.is_repeated:
        parts.append("Repeatable.")
    parts += [_default(option), _in_python(option)]
    return wrapped(f"- {' '.join(filter(None, parts))}", indent="  ")


def wrapped(text: str, indent: str = "") -> str:
    """Return a text in lines that a terminal shows whole."""
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _marked(text: str) -> str:
    """Return a text in which names of options, and words with * or _, are marked as code."""
    return re.sub(r"[^\s,;()'`]*[*_](?:[^\s,;()'`]*[^\s,;()'`.])?", r"`\g<0>`", _flagged(text))


def _flagged(text: str) -> str:
    return with_flags(text, NAMED, quote="`")


def _metavar(option: Option) -> str:
    return option.metavar or option.kind.metavar


def _default(option: Option) -> str:
    if option.unset:
        return f"Default: {_marked(option.unset)}."
    plain = option.plain_default if option.has_default else None
    if plain is None or plain is False or plain == []:
        return ""
    return f"Default: `{plain}`."


def _in_python(option: Option) -> str:
    """Return how Python writes an option of ``prune`` or a limit, where that differs."""
    if option.name not in {**OPTIONS, **COMPARE_OPTIONS}:
        return ""
    as_flag = long_flag(option)[2:].replace("-", "_")
    is_switch = option.kind.native is bool and option.default is None
    value = "True or False" if is_switch else option.kind.in_python
    if value:
        return f"In Python: `{option.name}`, {value}."
    return "" if as_flag == option.name else f"In Python: `{option.name}`."


def cache_section() -> str:
    """Return what of a cache can be used again when an option changes."""
    lines = ["## What `--cache` uses again", ""]
    for level in Affects:
        names = [f"`{long_flag(o)}`" for o in OPTIONS.values() if o.affects is level]
        lines.append(wrapped(f"- {HEADS[level]}: {', '.join(names)}.", indent="  "))
    return "\n".join((*lines, ""))


def codes_section() -> str:
    """Return the exit codes."""
    meanings: dict[int, list[str]] = defaultdict(list)
    for code, meaning in CODES.items():
        meanings[code].append(meaning)
    for error in vars(errors).values():
        if isinstance(error, type) and error.__bases__[0] is errors.LobsError and error.__doc__:
            meanings[error.exit_code].append(_in_a_list(error.__doc__))
    rows = [f"| {code} | {'; '.join(meanings[code])} |" for code in sorted(meanings)]
    return "\n".join(
        (
            "## Exit codes",
            "",
            "| code | meaning |",
            "|---|---|",
            *rows,
            "",
            "An error is one line on stderr: the value, the limit, the remedy.",
            "",
        )
    )


def _in_a_list(sentence: str) -> str:
    text = sentence.partition("\n")[0].rstrip(".")
    return text[0].lower() + text[1:]


def keywords() -> str:
    """Return the module of types."""
    shared = {name: o for name, o in COMPARE_OPTIONS.items() if name not in OWN}
    return "\n".join(
        (
            '"""Types the keyword arguments of prune(), evaluate() and retrain() for editors.',
            "",
            "Written by ``tools/make_reference.py`` from the declarations of the options.",
            '"""',
            "",
            "from __future__ import annotations",
            "",
            "from collections.abc import Callable, Mapping",
            "from typing import Any, TypedDict",
            "",
            "",
            *typed("PruneOptions", "Types the options of prune().", OPTIONS),
            "",
            "",
            *typed("EvaluateOptions", "Types the options of evaluate().", shared),
            "",
            "",
            *typed("RetrainKeywords", "Types the options of retrain().", RETRAIN_OPTIONS),
            "",
        )
    )


def typed(name: str, says: str, options: Mapping[str, Option]) -> Iterable[str]:
    """Yield the lines of a class that types options."""
    yield f"class {name}(TypedDict, total=False):"
    yield f'    """{says}"""'
    yield ""
    yield from (f"    {option.name}: {option.annotation}" for option in options.values())


def texts() -> dict[Path, str]:
    """Return what each file has to hold."""
    return {PAGE: page(), KEYWORDS: keywords()}


def main() -> int:
    """Write or check the files; return the exit code."""
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", str(__doc__))[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    is_check = parser.parse_args().check
    stale = [p for p, text in texts().items() if not p.exists() or p.read_text("utf-8") != text]
    for path in stale:
        print(f"{'stale' if is_check else 'written'}: {path}")
        if not is_check:
            path.write_text(texts()[path], "utf-8")
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
