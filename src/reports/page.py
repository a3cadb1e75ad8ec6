"""Markdown as one HTML file that loads nothing."""

import base64
import html
import mimetypes
from collections.abc import Mapping
from pathlib import Path

# System colours follow the reader's light or dark theme. The policy forbids whatever is not in the file.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: color-mix(in srgb, CanvasText 18%, Canvas); }}
body {{ max-width: 60rem; margin: 0 auto; padding: 1rem; background: Canvas; color: CanvasText;
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }}
h1, h2 {{ line-height: 1.25; }}
h2 {{ margin-top: 2rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }}
table {{ display: block; width: max-content; max-width: 100%; overflow-x: auto; margin: 1.25rem 0;
  border-collapse: collapse; font-size: .8125rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }}
td:first-child {{ min-width: 7.5rem; }}
[style*=right] {{ white-space: nowrap; }}
img {{ display: block; max-width: 100%; border-radius: 4px; background: white; }}
code {{ font-family: ui-monospace, monospace; font-size: .875em; }}
pre {{ padding: .75rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 4px; }}
</style>
</head>
<body>
{body}</body>
</html>
"""


def as_html(markdown: str, pictures: Mapping[str, Path], title: str) -> str:
    """CommonMark with tables as a page: lines stay lines, and HTML is shown as text.

    A picture that ``pictures`` names is put into the page, of any other only the text in its place is shown.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        for child in token.children or []:
            if child.type == "image":
                picture = pictures.get(str(child.attrs["src"]))
                if picture is None:
                    child.type, child.children = "text", None
                else:
                    child.attrs["src"] = _data_uri(picture)
    return PAGE.format(title=html.escape(title), body=parser.renderer.render(tokens, parser.options, {}))


def _data_uri(picture: Path) -> str:
    kind = mimetypes.guess_type(picture.name)[0]
    return f"data:{kind};base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}"
