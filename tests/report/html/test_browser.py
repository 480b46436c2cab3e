"""A page in headless Chromium: nothing complains, and a phone need not scroll sideways."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from example_report import example_evaluation, example_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
PHONE, DESKTOP = 390, 1280  # pixels
SECONDS = 120
# Windows of Chromium are at least 500 pixels wide, so a frame is the phone.
FRAME = (
    "<title>-</title><body style='margin:0'><script>addEventListener('message', (told) => "
    "{{ document.title = JSON.stringify(told.data) }})</script>"
    "<iframe src='page.html' width='{width}' height='844' style='border:0'></iframe>"
)
PROBE = """<script>addEventListener("load", () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  const orders = [1, 2].map(() => {
    document.querySelector("table.sorts button").click();
    return document.querySelector("table.sorts tbody").textContent;
  });
  parent.postMessage({
    width: innerWidth,
    content: document.documentElement.scrollWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    ground: getComputedStyle(document.body).backgroundColor,
    pictures: [...document.images].every((one) => one.naturalWidth > 0),
    sorted: orders[0] !== orders[1],
  }, "*");
})</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("kind", ["run", "comparison"])
def test_a_page_fits_and_complains_of_nothing(
    tmp_path: Path, kind: str, width: int, scheme: str
) -> None:
    pytest.importorskip("jinja2", reason="pages need jinja2")
    text = (example_report(12) if kind == "run" else example_evaluation()).to_html()
    (tmp_path / "page.html").write_text(text.replace("</body>", PROBE), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    title, complaints = opened(tmp_path / "frame.html", scheme, tmp_path)
    assert complaints == []
    found = json.loads(title)
    assert found["width"] == width
    assert found["content"] <= width
    assert found["dark"] is (scheme == "dark")
    assert found["ground"] == ("rgb(20, 23, 27)" if scheme == "dark" else "rgb(255, 255, 255)")
    assert found["pictures"]
    assert found["sorted"]


def opened(page: Path, scheme: str, profile: Path) -> tuple[str, list[str]]:
    """Open a page; return the title that it has then, and what stands on the console."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        "--window-size=1400,900", f"--user-data-dir={profile / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
        "--virtual-time-budget=10000", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, check=True, errors="replace"
    )
    title = re.search(r"<title>(.*?)</title>", ran.stdout)
    assert title is not None
    return title[1], [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
