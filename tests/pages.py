"""What tests of pages share: what a page loads from elsewhere, and how well colours differ."""

import re
from html.parser import HTMLParser

_LOADING = {
    "script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src",
    "object": "data", "embed": "src", "video": "src", "audio": "src", "image": "href",
}  # fmt: skip


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.loads, self.images, self.css, self._style = [], [], "", False

    def handle_starttag(self, tag, attrs):
        found = dict(attrs).get(_LOADING.get(tag, ""))
        if found and not found.startswith("data:"):
            self.loads.append(found)
        if tag == "img":
            self.images.append(found)
        self._style = tag == "style"

    def handle_endtag(self, tag):
        self._style = False

    def handle_data(self, data):
        if self._style:
            self.css += data


def read(html):
    """Return a parsed page: ``loads``, ``images``, ``css``."""
    reader = _Reader()
    reader.feed(html)
    outside = re.findall(r"url\((?!['\"]?data:)([^)]*)\)|@import\s+([^;]+)", reader.css)
    reader.loads += ["".join(pair) for pair in outside]
    return reader


def contrast(one, other):
    """Return the contrast ratio of two colours, as WCAG 2 defines it: 1 … 21."""

    def luminance(colour):
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
