"""PP-OCR on rendered text lines: the recogniser (exact lines) and the 0/180 degree classifier."""

from __future__ import annotations

import io
import re
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from PIL import Image, ImageDraw, ImageFont
from zoo_model import Arrays, Runner, predict, save
from zoo_packages import MATPLOTLIB, RAPIDOCR, member, members, wheel

HEIGHT = 48
RECOGNISER_WIDTH = 320
CLASSIFIER_WIDTH = 192
SHORTEST = 150  # two or three letters can be read either way up
N_CALIBRATION = 150
N_TEST = 600
INPUT = "x"
RECOGNISER_OUTPUT = "softmax_11.tmp_0"
CLASSIFIER_OUTPUT = "save_infer_model/scale_0.tmp_1"

_FONT = re.compile(r"/(DejaVu(Sans|SansMono|Serif)|STIXGeneral)(-?[A-Z][A-Za-z]*)?\.ttf$")
_WORD = re.compile(r"(?<![A-Za-z_.])[a-z]{3,10}(?=[ ,.;])")


@dataclass(frozen=True)
class Corpus:
    """What lines are made of: font files, and words that only one half of the data uses."""

    fonts: tuple[bytes, ...]
    words: tuple[str, ...]

    def halves(self, rng: np.random.Generator) -> tuple[Corpus, Corpus]:
        """Split the words at random into two disjoint halves; the fonts are shared."""
        order = rng.permutation(len(self.words))
        shuffled = tuple(self.words[i] for i in order)
        middle = len(shuffled) // 2
        return Corpus(self.fonts, shuffled[:middle]), Corpus(self.fonts, shuffled[middle:])


def read_corpus(packages: Path) -> Corpus:
    """Read fonts (DejaVu, STIX) and lower-case words from the matplotlib wheel."""
    path = wheel(MATPLOTLIB, packages)
    fonts = [data for name, data in members(path, ".ttf").items() if _FONT.search(name)]
    words: set[str] = set()
    for source in members(path, ".py").values():
        words.update(_WORD.findall(source.decode("utf-8")))
    return Corpus(tuple(fonts), tuple(sorted(words)))


def random_text(words: tuple[str, ...], rng: np.random.Generator) -> str:
    """Make a line: one or two words in some case, a number, or a word with digits."""
    digits = "".join(rng.choice(list(string.digits), size=int(rng.integers(2, 6))))
    first, second = (words[i] for i in rng.integers(len(words), size=2))
    forms = (
        first,
        first.capitalize(),
        first.upper(),
        f"{first} {second}",
        f"{first.capitalize()} {digits}",
        f"{digits}.{rng.integers(10, 100)}",
        f"{first}-{digits}",
        f"{first.capitalize()}, {second}",
    )
    return forms[int(rng.integers(len(forms)))]


def render(text: str, font: bytes, rng: np.random.Generator) -> Image.Image:
    """Draw dark text on a light ground with random size, colours, margins and light noise."""
    face = ImageFont.truetype(io.BytesIO(font), int(rng.integers(14, 45)))
    left, top, right, bottom = (int(edge) for edge in face.getbbox(text))
    margin = rng.integers(2, 8, size=4)
    size = (right - left + int(margin[:2].sum()), bottom - top + int(margin[2:].sum()))
    image = Image.new("RGB", size, tuple(int(c) for c in rng.integers(170, 256, size=3)))
    ink = tuple(int(c) for c in rng.integers(0, 130, size=3))
    ImageDraw.Draw(image).text(
        (int(margin[0]) - left, int(margin[2]) - top), text, font=face, fill=ink
    )
    pixels = np.asarray(image, dtype=np.float64)
    pixels = pixels + rng.normal(0, rng.uniform(0, 20), size=pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def preprocess(image: Image.Image, width: int) -> np.ndarray:
    """Scale to height 48 and at most ``width``, BGR, to [-1, 1], zero pad on the right.

    A line too long for the width is squeezed, as PP-OCR's own classifier input is.

    Returns
    -------
    ndarray, float32, shape (3, 48, width)
    """
    scaled = min(width, int(np.ceil(HEIGHT * image.width / image.height)))
    resized = image.resize((scaled, HEIGHT), Image.Resampling.BILINEAR)
    bgr = np.asarray(resized, dtype=np.float32)[:, :, ::-1]
    line = np.zeros((3, HEIGHT, width), dtype=np.float32)
    line[:, :, :scaled] = ((bgr / 255 - 0.5) / 0.5).transpose(2, 0, 1)
    return line


def make_lines(
    corpus: Corpus, count: int, rng: np.random.Generator
) -> tuple[list[Image.Image], list[str]]:
    """Render different lines, 150 to 320 pixels long at height 48."""
    images: dict[str, Image.Image] = {}
    while len(images) < count:
        text = random_text(corpus.words, rng)
        image = render(text, corpus.fonts[int(rng.integers(len(corpus.fonts)))], rng)
        length = image.width * HEIGHT / image.height
        if text not in images and SHORTEST <= length <= RECOGNISER_WIDTH:
            images[text] = image
    return list(images.values()), list(images)


def make_turned(
    corpus: Corpus, count: int, rng: np.random.Generator
) -> tuple[list[Image.Image], np.ndarray]:
    """Render lines and turn every second one by 180 degrees; return them and 0 or 1 for each."""
    images, _ = make_lines(corpus, count, rng)
    labels = np.arange(count) % 2
    turned = [image.rotate(180 * int(turn)) for image, turn in zip(images, labels, strict=True)]
    return turned, labels


def stack(images: list[Image.Image], width: int) -> np.ndarray:
    """Preprocess lines into one array, float32, of shape (lines, 3, 48, width)."""
    return np.stack([preprocess(image, width) for image in images])


def prepare_recogniser(packages: Path, _shared: Path, stem: Path) -> None:
    """Write the recogniser, its calibration lines and its test lines."""
    model = member(wheel(RAPIDOCR, packages), "/ch_PP-OCRv4_rec_infer.onnx")
    stem.with_suffix(".onnx").write_bytes(model)
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}
    # str.splitlines would also split at U+2028 and its like, which can be characters here.
    characters = np.array(["", *metadata["character"].rstrip("\n").split("\n"), " "])
    rng = np.random.default_rng(0)
    calibration, test = read_corpus(packages).halves(rng)
    images, _ = make_lines(calibration, N_CALIBRATION, rng)
    test_images, texts = make_lines(test, N_TEST, rng)
    save(
        stem,
        {INPUT: stack(images, RECOGNISER_WIDTH)},
        {
            INPUT: stack(test_images, RECOGNISER_WIDTH),
            "labels": np.array(texts),
            "characters": characters,
        },
    )


def prepare_classifier(packages: Path, _shared: Path, stem: Path) -> None:
    """Write the classifier, its calibration lines and its test lines, half of them turned."""
    model = member(wheel(RAPIDOCR, packages), "/ch_ppocr_mobile_v2.0_cls_infer.onnx")
    stem.with_suffix(".onnx").write_bytes(model)
    rng = np.random.default_rng(1)
    calibration, test = read_corpus(packages).halves(rng)
    images, _ = make_turned(calibration, N_CALIBRATION, rng)
    test_images, labels = make_turned(test, N_TEST, rng)
    save(
        stem,
        {INPUT: stack(images, CLASSIFIER_WIDTH)},
        {INPUT: stack(test_images, CLASSIFIER_WIDTH), "labels": labels},
    )


def decode(probabilities: np.ndarray, characters: np.ndarray) -> list[str]:
    """Greedy CTC: the best class of each step, repeats merged, blanks (class 0) dropped.

    Parameters
    ----------
    probabilities : ndarray, shape (lines, steps, classes)
    characters : ndarray of str, shape (classes,)
    """
    texts = []
    for best in probabilities.argmax(axis=2):
        changed = np.concatenate([[True], best[1:] != best[:-1]])
        texts.append("".join(characters[best[changed & (best != 0)]]))
    return texts


def hits_recogniser(test: Arrays, runner: Runner) -> np.ndarray:
    """Whether each line is read exactly but for spaces at the ends, bool."""
    probabilities = predict(runner, {INPUT: test[INPUT]}, RECOGNISER_OUTPUT, batch=8)
    texts = np.array([text.strip(" ") for text in decode(probabilities, test["characters"])])
    return np.asarray(texts == test["labels"])


def hits_classifier(test: Arrays, runner: Runner) -> np.ndarray:
    """Whether each line's orientation is found, bool."""
    probabilities = predict(runner, {INPUT: test[INPUT]}, CLASSIFIER_OUTPUT)
    return np.asarray(probabilities.argmax(axis=1) == test["labels"])
