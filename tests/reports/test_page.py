"""A page is whole, loads nothing, and shows HTML as text."""

import base64
from html.parser import HTMLParser
from pathlib import Path

from src.reports.page import as_html

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
VOID = {"meta", "img", "br", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, and text; every element must be closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def sources(self) -> list[str | None]:
        """What the page would load."""
        return [attributes[name] for tag, attributes in self.elements for name in ("src", "href") if name in attributes]


def test_pictures_are_inside_and_nothing_else_is_loaded(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(PIXEL)
    text = (
        "![one](a.png)\n\n![*two*](b.png)\n\n![three](http://example.org/c.png)\n\n<img src=http://example.org/d.png>"
    )
    page = Page(as_html(text, {"a.png": picture}, "title"))
    (source,) = page.sources()
    assert source is not None
    kind, _, content = source.partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == PIXEL
    assert ("img", {"src": source, "alt": "one"}) in page.elements
    assert "two" in page.text
    assert "three" in page.text
    assert "<img src=http://example.org/d.png>" in page.text


def test_html_in_text_and_title_is_text() -> None:
    page = Page(as_html("# <script>x</script>\n\n| <b> |\n|---|\n| {1} & 2 |", {}, "</title><b>"))
    tags = [tag for tag, _ in page.elements]
    assert not {"script", "b"} & set(tags)
    assert "table" in tags
    assert "<script>x</script>" in page.text
    assert "{1} & 2" in page.text
    assert "</title><b>" in page.text
