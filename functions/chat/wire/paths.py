"""Paths that are open to everybody: the page's files, by the path that they are asked at."""

from __future__ import annotations

PAGE_PATHS = {
    "/": "index.html",
    **{
        f"/{name}": name
        for name in (
            "page.css",
            *(f"{name}.js" for name in ("page", "words", "api", "chat", "turn", "documents", "compare", "answers")),
            "vendor/marked.js",
            "vendor/purify.js",
            "vendor/LICENSES.txt",
        )
    },
}
OPEN_PATHS = frozenset({*PAGE_PATHS, "/healthz"})
