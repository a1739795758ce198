"""A visit to a page in Chromium, which has no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROWS = "#top-effects tbody tr:visible"


class Visit:
    """A page that was opened, and all that the browser complained of or asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def column(self, label: str) -> list[str]:
        """Texts of a column of the top effects, in the rows that are shown."""
        heads = self.page.locator("#top-effects th").all_inner_texts()
        index = heads.index(label) + 1
        return self.page.locator(f"{ROWS} td:nth-child({index})").all_inner_texts()

    def sort_of(self, label: str) -> str:
        """The aria-sort of a heading of the top effects."""
        button = self.page.get_by_role("button", name=label, exact=True)
        head = self.page.locator("#top-effects th", has=button)
        return head.get_attribute("aria-sort")

    def status(self) -> str:
        """The number of rows as it is said."""
        return self.page.locator("#effects").get_by_role("status").inner_text()
