"""The layers fit Lambda, carry fresh bytecode and import by themselves; template.py has the rules of the template itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.files import of_every_format

ROOT = Path(__file__).resolve().parents[2]
LAMBDA_LIMIT_BYTES = 262_144_000
ROOM_BYTES = 10_000_000
LAYERS_BYTES = 200_000_000
UNCHECKED_HASH = 0b01


@pytest.mark.parametrize(
    ("together", "most"),
    [
        (("RuntimeLayer", "ParsingLayer"), LAYERS_BYTES),
        (("RuntimeLayer", "LedgerLayer", "ChatFunction"), LAMBDA_LIMIT_BYTES - ROOM_BYTES),
    ],
)
def test_the_artifacts_fit_lambda_with_room_to_spare(
    artifacts: dict[str, Path], together: tuple[str, ...], most: int
) -> None:
    files = [path for name in together for path in artifacts[name].rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < most


def test_the_bytecode_can_not_go_stale(artifacts: dict[str, Path]) -> None:
    for artifact in artifacts.values():
        compiled = list(artifact.rglob("*.pyc"))
        assert len(compiled) == len(list(artifact.rglob("*.py")))
        for path in compiled:
            flags = int.from_bytes(path.read_bytes()[4:8], "little")
            assert flags == UNCHECKED_HASH, path


@pytest.mark.parametrize("function", ["chat", "ingest", "cache_maintenance"])
def test_a_function_has_all_that_it_needs_in_its_layers(
    artifacts: dict[str, Path], function: str, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name, content in of_every_format("The shaft seal is replaced every year.").items():
        (files / name).write_bytes(content)
    used = [artifacts["RuntimeLayer"], artifacts["ParsingLayer" if function == "ingest" else "LedgerLayer"]]
    used += [artifacts["ChatFunction"]] if function == "chat" else []
    source = (
        f"import json, sys; sys.path[:0] = {[str(ROOT), *map(str, used)]!r}; "
        f"import functions.{function}.main; from headrace import wiring; from headrace.settings import Settings; "
        "s = Settings(chat_model='x', embedding_model='y'); "
        'import simsimd, hiredis; wiring.open_store(s); wiring.open_redis(s); wiring.open_chat_model(s, "x"); wiring.open_embedder(s); '
        + (
            "from pathlib import Path; from headrace.parsers.readers import Source, read_file; "
            f"[read_file(Source(path, path.name, languages='eng')) for path in Path({str(files)!r}).iterdir()]; "
            if function == "ingest"
            else "import openai; from headrace.ledger import migrating, sql; from headrace.ledger.urls import make_engine; "
            "from alembic.script import ScriptDirectory; assert ScriptDirectory(str(migrating.MIGRATIONS)).get_current_head(); "
            "make_engine('postgresql://a:b@127.0.0.1/x'); "
            + ("import headrace.auth.jwt, llguidance, jsonschema_rs; " if function == "chat" else "")
        )
        + "outside = sorted({m.split('.')[0] for m, v in sys.modules.items() if 'site-packages' in (getattr(v, '__file__', '') or '')}); "
        "print(json.dumps(outside))"
    )
    # -I and -S: nothing of this environment's packages; boto3 is in Lambda's own runtime.
    result = subprocess.run([sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert json.loads(result.stdout.splitlines()[-1]) == []
