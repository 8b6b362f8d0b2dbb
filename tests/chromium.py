"""The system's Chromium without a window, for tests of pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Opened:
    """A page in the browser, what it asked for besides its own file, and what it reported on the console."""

    page: object
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """What axe-core finds wrong with the page, by all of its rules."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
        return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


class Chromium:
    def __init__(self, browser: object) -> None:
        self._browser = browser

    @contextmanager
    def open(self, path: Path, width: int = 1440, scheme: str = "light") -> Iterator[Opened]:
        """Open a file in a window of that width in pixels. scheme: ``light`` or ``dark``."""
        with self._browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
            opened = Opened(context.new_page())
            opened.page.on("request", lambda request: opened.requests.append(request.url))
            opened.page.on("console", lambda message: opened.console.append(message.text))
            opened.page.on("pageerror", lambda error: opened.console.append(str(error)))
            opened.page.goto(path.as_uri())
            opened.requests = [url for url in opened.requests if url != path.as_uri() and not url.startswith("data:")]
            yield opened


@contextmanager
def running_chromium() -> Iterator[Chromium]:
    """A running Chromium. Skips the test if this machine has none."""
    place = next(filter(None, map(shutil.which, NAMES)), None)
    if place is None:
        pytest.skip("no Chromium is installed here")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=place, args=["--no-sandbox"])
        try:
            yield Chromium(browser)
        finally:
            with suppress(playwright.Error):
                browser.close()
