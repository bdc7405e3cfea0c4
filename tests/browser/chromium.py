"""A page in Chromium, and what can be read off it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

PROBES = (Path(__file__).parent / "probes.js").read_text("utf-8")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def running():
    """A Chromium of the system. What was asked for and cannot run fails."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise RuntimeError(
            f"pages are tested in a browser, and none of {', '.join(NAMES)} is on the "
            "PATH; mend: apt-get install chromium fonts-wqy-microhei"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


class Shown:
    """A page that is open in a browser, and asks for nothing but its own file."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        wide = options.pop("width", 1280)
        viewport = {"width": wide, "height": options.pop("height", 900)}
        options = {"locale": "en-US", "viewport": viewport, **options}
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.url = path.resolve().as_uri()
        self.page.goto(self.url)
        self.page.evaluate(PROBES)

    def close(self) -> None:
        """Nothing went wrong on the way, and nothing else was asked for."""
        self.context.close()
        assert self.said == []
        assert self.asked == [self.url]

    # -- doing -------------------------------------------------------------------------

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            self.page.keyboard.press(key)

    def do(self, script: str) -> Any:
        return self.page.evaluate(script)

    def click(self, selector: str) -> None:
        self.page.click(selector)

    # -- reading -----------------------------------------------------------------------

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def count(self) -> int:
        """How many steps there are."""
        return int(self.do("document.getElementById('slider').max")) + 1

    def place(self) -> int:
        return int(self.do("document.getElementById('slider').value"))

    def maps(self, where: str) -> list[tuple[str, np.ndarray, list[str]]]:
        """The heat maps in a part of the page: caption, numbers in every digit, and
        what is written in the cells."""
        return [
            (name, np.array([float(x) for x in values]), texts)
            for name, values, texts in self.do(f"probes.maps('{where}')")
        ]
