"""Programs of guidance compiled to what `structured_outputs` takes: run by those who write grammars, where guidance is installed.

    make grammar PROGRAM=my_programs.py:verdict > verdict.json

guidance itself has no asynchronous way and is 100 MB: what a program compiles to is text, which is stored and sent.
Source: https://github.com/guidance-ai/guidance
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")


def compiled(program: Any) -> dict[str, Any]:
    """The form of `structured_outputs` that allows what the program allows.

    A program that is one `select` is a choice, one that is `json` a schema. Any other is a grammar; where a single expression
    allows the same, it goes along (`regex`), because more servers enforce one. Raises ValueError for what is no program.
    """
    from guidance import _ast

    if not isinstance(program, _ast.GrammarNode):
        raise ValueError(  # noqa: TRY004 - one fault for whatever can't be compiled
            "It is no grammar: give select, regex, gen, json or substring, joined by +, or a function with "
            "@guidance(stateless=True), called."
        )
    inner = program
    while isinstance(inner, _ast.RuleNode) and _is_plain(inner) and not inner.capture:
        inner = inner.value
    if isinstance(inner, _ast.JsonNode):
        return {"json": inner.schema if inner.schema is not None else {"type": "object"}}
    if isinstance(inner, _ast.SelectNode) and all(
        isinstance(each, _ast.LiteralNode) and each.value for each in inner.alternatives
    ):
        return {"choice": [each.value for each in inner.alternatives]}
    expression = _expression(program)
    alike = {} if expression is None else {"regex": expression}
    return {"grammar": program.ll_grammar(), **alike}


def _expression(node: Any) -> str | None:
    """The one expression that allows the same texts; None where there is none, or it is not looked for."""
    from guidance import _ast

    match node:
        case _ast.LiteralNode():
            return _SPECIAL.sub(r"\\\1", node.value)
        case _ast.RegexNode():
            return None if node.regex is None else f"(?:{node.regex})"
        case _ast.SelectNode():
            return _joined(node.alternatives, "|")
        case _ast.JoinNode():
            return _joined(node.nodes, "")
        case _ast.RepeatNode():
            inner = _expression(node.node)
            most = "" if node.max is None else node.max
            return None if inner is None else f"(?:{inner}){{{node.min},{most}}}"
        case _ast.RuleNode() if _is_plain(node):
            return _expression(node.value)
    return None


def _joined(nodes: Any, mark: str) -> str | None:
    parts = [_expression(node) for node in nodes]
    known = [part for part in parts if part is not None]
    return f"(?:{mark.join(known)})" if len(known) == len(parts) else None


def _is_plain(rule: Any) -> bool:
    """Whether the rule allows what its inside allows, with no end of its own."""
    ends = (rule.temperature, rule.max_tokens, rule.stop, rule.suffix, rule.stop_capture)
    return not rule.lazy and all(each is None for each in ends)


def _program(name: str) -> Any:
    """What a Python file has under a name: `my_programs.py:verdict`."""
    path, _, attribute = name.partition(":")
    spec = importlib.util.spec_from_file_location("programs", Path(path))
    if spec is None or spec.loader is None or not attribute:
        raise ValueError("Name a Python file and what is in it: my_programs.py:verdict")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, attribute)


def main() -> None:
    """Print what the programs compile to, as one JSON object, or for several as one by their names."""
    parser = argparse.ArgumentParser(description="Compile programs of guidance to what `structured_outputs` takes.")
    parser.add_argument("programs", nargs="+", help="a Python file and a name in it: my_programs.py:verdict")
    names = parser.parse_args().programs
    try:
        made = {name.partition(":")[2]: compiled(_program(name)) for name in names}
    except (ValueError, OSError, AttributeError) as error:
        sys.exit(f"{error}")
    print(json.dumps(made if len(made) > 1 else next(iter(made.values())), ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
