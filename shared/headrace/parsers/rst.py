"""reStructuredText to blocks, through docutils, which reads no other file and runs nothing. Runs in the parser's process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from headrace.errors import DocumentError
from headrace.parsers.html import read_html
from headrace.types import Block

MOST_MARKS = 1_000
SETTINGS = {
    "line_length_limit": 10_000_000, "file_insertion_enabled": False, "raw_enabled": False, "_disable_config": True,
    "report_level": 5, "halt_level": 5, "doctitle_xform": False, "initial_header_level": 1, "syntax_highlight": "none",
}  # fmt: skip


def read_rst(text: str) -> Iterator[Block]:
    """The file's blocks. Raises DocumentError for what takes its reader too long."""
    from docutils.core import publish_parts

    if any(len(re.findall(r"[*`|_]", paragraph)) > MOST_MARKS for paragraph in re.split(r"\n\s*\n", text)):
        raise DocumentError(f"A paragraph of the file has more than {MOST_MARKS:,} marks of markup in it. Break it up.")
    _keep_unknown_directives()
    return read_html(str(publish_parts(text, writer="html5", settings_overrides=SETTINGS)["body"]))


def _keep_unknown_directives() -> None:
    """Sphinx has directives that docutils does not know: what stands in them is read, instead of being dropped in silence."""
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives

    class Kept(Directive):  # type: ignore[misc]
        has_content = True
        optional_arguments = 1
        final_argument_whitespace = True

        def run(self) -> list[Any]:
            container = nodes.container()
            container += [nodes.paragraph("", argument) for argument in self.arguments]
            self.state.nested_parse(self.content, self.content_offset, container)
            return [container]

    known = directives.directive

    def find(name: str, *rest: Any) -> Any:
        found, messages = known(name, *rest)
        return (found or Kept, messages if found else [])

    if known.__module__ == directives.__name__:
        directives.directive = find
