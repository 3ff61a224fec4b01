"""Takes docs/images/console.png and labels.png: the console in Chromium, beside a running stream.

python -m tools.docs.take_console_images [console|labels]

It needs the requirements for development, Chromium and, for labels.png, the chest CT
(`app.py fetch chest-ct`).
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
START_S, SETTLE_S = 120, 12
STILL = "pose_source={kind: static}"
STRUCTURES = "annotations.structures=[heart, aorta, vertebrae_T8, rib_left_5]"


class Shot(NamedTuple):
    """One image: which file of configs/ runs, with which options, and the size of the window."""

    config: str
    options: tuple[str, ...]
    size_px: tuple[int, int]


SHOTS = {
    "console": Shot("live", (), (1280, 860)),
    "labels": Shot("labels", (STRUCTURES, STILL, "run.frames=null"), (1040, 680)),
}


def main() -> int:
    """Take one image, or both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SHOTS)}")
    names = parser.parse_args().names or [*SHOTS]
    for name in names:
        if name not in SHOTS:
            parser.error(f"NAME must be of {', '.join(SHOTS)}, got {name}")
        take(name, SHOTS[name])
    return 0


def take(name: str, shot: Shot) -> None:
    """Run the stream, wait until its image stands, and take the page."""
    from playwright.sync_api import sync_playwright

    chromium = next((found for each in CHROMIUM if (found := shutil.which(each))), None)
    if chromium is None:
        raise SystemExit(f"{name}.png needs a browser: install one of {', '.join(CHROMIUM)}")
    with streaming(shot) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        width, height = shot.size_px
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(url)
        page.wait_for_selector("#rate:not(:empty)", timeout=START_S * 1000)
        page.wait_for_timeout(SETTLE_S * 1000)
        page.screenshot(path=IMAGES / f"{name}.png")
        browser.close()


@contextmanager
def streaming(shot: Shot) -> Iterator[str]:
    """A stream with its console at the yielded address."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = (f"console.port={port}", f"run.output_dir={folder}", *shot.options)
        arguments = [part for each in options for part in ("--set", each)]
        command = [sys.executable, "app.py", "run", f"configs/{shot.config}.yaml", *arguments]
        stream = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            yield wait_for(port, stream)
        finally:
            stream.terminate()
            stream.wait(30)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, stream: subprocess.Popen[bytes]) -> str:
    """Return the console's address once it answers."""
    import time

    for _ in range(START_S * 5):
        if stream.poll() is not None:
            raise SystemExit(f"the stream ended with exit code {stream.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"http://127.0.0.1:{port}/"
        time.sleep(0.2)
    raise SystemExit(f"no console within {START_S} s")


if __name__ == "__main__":
    sys.exit(main())
