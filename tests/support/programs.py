"""Programs of guidance, as people write them. tests/support/programs.json is what they compile to."""

from __future__ import annotations

from guidance import gen, guidance, json, one_or_more, regex, select, substring

verdict = select(["yes", "no", "it depends"])
code = regex(r"[A-Z]{2}-[0-9]{3}")
leave = "Leave: " + gen(regex=r"[0-9]{1,2}", name="weeks") + " weeks, " + select(["paid", "unpaid"], name="pay") + "."
form = json(
    schema={
        "type": "object",
        "properties": {"weeks": {"type": "integer"}},
        "required": ["weeks"],
        "additionalProperties": False,
    }
)
quote = '"' + substring("Parents may take 26 weeks of parental leave.", name="quote") + '"'


@guidance(stateless=True)
def _listed(lm):
    return lm + one_or_more("- " + select(["pump", "valve"]) + "; ")


listed = _listed()
