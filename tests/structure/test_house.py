"""The rules of the house, held by machine: arrows, vendors, the environment, sizes, and what a cold start loads."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = sorted(path for folder in ("functions", "shared/headrace", "infra") for path in (ROOT / folder).rglob("*.py"))
# The floors of headrace, from the ground up: a module imports from floors below its own, or from its own room.
FLOORS = {
    "types": 0, "errors": 0, "text": 0, "vectors": 0, "lambda_runtime": 0,
    "protocols": 1, "concurrency": 1, "filters": 1, "rate_limits": 1, "ranking": 1, "settings": 1,
    "clients": 2, "constrained": 2, "buckets": 2, "queues": 2, "retrieval": 2, "single_flight": 2,
    "sockets": 2, "stores": 3, "redis_state": 3, "runs": 3, "models": 3, "embedders": 3, "rerankers": 3, "auth": 3, "parsers": 3, "ledger": 3, "observability": 3,
    "tools": 3, "answering": 4, "agents": 5, "wiring": 6, "langchain": 7,
}  # fmt: skip
# Who imports a vendor: modules, or whole packages (`name.`).
VENDORS = {
    "aiohttp": (
        "headrace.clients.aws",
        "headrace.clients.http",
        "headrace.clients.openai_http",
        "headrace.clients.outbound",
    ),
    "boto3": ("headrace.buckets.", "headrace.queues.sqs", "headrace.sockets.api_gateway"),
    "botocore": ("headrace.buckets.", "headrace.clients.aws", "headrace.queues.sqs", "headrace.sockets.api_gateway"),
    "guidance": ("headrace.constrained.guidance",),
    "jsonschema_rs": ("headrace.constrained.schemas",),
    "jwt": ("headrace.auth.jwt",),
    "langchain_core": ("headrace.langchain.", "headrace.tools.langchain"),
    "llguidance": ("headrace.constrained.grammars",),
    "mangum": ("functions.chat.main",),
    "mcp": ("functions.chat.mcp_server", "headrace.tools.mcp"),
    "alembic": ("headrace.ledger.migrating", "headrace.ledger.migrations.", "headrace.ledger.sql"),
    "msgspec": (
        "headrace.types.events",
        "headrace.types.ledger",
        "headrace.types.evaluations",
        "headrace.types.structs",
        "headrace.answering.",
        "headrace.single_flight.",
    ),
    "openai": ("headrace.clients.openai_sdk",),
    "opentelemetry": ("headrace.observability.otel",),
    "orjson": ("functions.chat.wire.sse", "headrace.clients.http", "headrace.clients.openai_http"),
    "pydantic": (
        "functions.chat.lean_imports",
        "functions.chat.wire.bodies",
        "functions.chat.wire.evaluations",
        "functions.chat.wire.openai_bodies",
        "functions.chat.wire.frames",
        "functions.chat.wire.forms",
        "functions.chat.wire.tools",
        "headrace.langchain.",
    ),
    "pypdfium2": ("headrace.parsers.pdfium",),
    "qdrant_edge": ("headrace.stores.edge_engine", "headrace.stores.edge_requests"),
    "redis": (
        "headrace.clients.elasticache",
        "headrace.clients.redis",
        "headrace.redis_state.",
        "headrace.stores.redis",
        "headrace.wiring.",
    ),
    "simsimd": ("headrace.vectors",),
    "sqlalchemy": ("headrace.ledger.",),
    "sqlmodel": ("headrace.ledger.tables", "headrace.ledger.migrations."),
    "tokenizers": ("headrace.embedders.minilm",),
    "unstructured": ("headrace.parsers.unstructured",),
}
MOST_LINES = 350


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "shared" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = {module_of(path): imports_of(path) for path in PRODUCT}


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_one_way(module: str) -> None:
    allowed = {
        "headrace": ("headrace",),
        "functions": ("headrace", "functions"),
        "infra": ("headrace", "functions", "infra"),
    }
    inside = {name for name in MODULES[module] if name.split(".")[0] in {"headrace", "functions", "infra", "tests"}}
    house = module.split(".", maxsplit=1)[0]
    for name in inside:
        assert name.split(".")[0] in allowed[house], f"{module} imports {name}, which stands above it"
        if house == "functions":
            assert name.startswith("headrace") or name.split(".")[1:2] in ([module.split(".")[1]], []), (
                f"{module} imports {name}, another function"
            )


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("headrace.")])
def test_headrace_stands_on_its_floors(module: str) -> None:
    own = module.split(".")[1]
    for name in MODULES[module]:
        if name.startswith("headrace."):
            other = name.split(".")[1]
            assert other == own or FLOORS[other] < FLOORS[own], f"{module} imports {name} from its own floor or above"
        assert not (own == "lambda_runtime" and name.startswith("headrace") and other != "lambda_runtime")


def test_no_modules_import_each_other_in_a_circle() -> None:
    # What is imported only for type checkers, or late within a function, counts too.
    done: set[str] = set()

    def needed(module: str) -> set[str]:
        names = MODULES[module] & set(MODULES)
        # `from package import module` needs the module; that it names the package too is no arrow.
        return {name for name in names if not any(other.startswith(f"{name}.") for other in names)}

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join([*above[above.index(module) :], module])
        if module not in done:
            for name in needed(module):
                walk(name, (*above, module))
            done.add(module)

    for module in MODULES:
        walk(module, ())


def test_the_map_names_every_room_on_its_floor() -> None:
    """The package's docstring has a line for each room, under the number of its floor."""
    assert {name.split(".")[1] for name in MODULES if name.startswith("headrace.")} == set(FLOORS)
    package = ast.parse((ROOT / "shared" / "headrace" / "__init__.py").read_text())
    floor = ""
    mapped: dict[str, int] = {}
    for line in (ast.get_docstring(package) or "").splitlines()[2:]:
        floor = line[0].strip() or floor
        names = line[3:].split("  ", maxsplit=1)[0] if line[3:4].strip() else ""
        mapped |= dict.fromkeys(filter(None, names.split(", ")), int(floor))
    assert mapped == FLOORS


def test_a_vendor_is_imported_where_it_belongs() -> None:
    for module, names in MODULES.items():
        if module.startswith("infra."):
            continue
        for name in names:
            vendor = name.split(".")[0]
            places = VENDORS.get(vendor, (module,))
            assert any(module == place or (place[-1] == "." and module.startswith(place)) for place in places), (
                f"{module} imports {vendor}"
            )


def test_the_environment_is_read_by_the_composition_roots_and_by_nobody_else() -> None:
    for path in PRODUCT:
        module = module_of(path)
        source = path.read_text()
        if "os.environ" in source or "getenv" in source:
            whole_process = module == "headrace.parsers.unstructured" and "os.environ.update(" in source
            # The process that reads files gets this one variable, and no other.
            whole_process |= module == "headrace.parsers.process" and source.count("os.environ") == 1
            runtime = module.startswith("headrace.lambda_runtime")
            assert (
                module.endswith((".main", ".__main__"))
                or module.startswith(("infra.local", "infra.aws."))
                or whole_process
                or runtime
            ), module


def test_no_room_is_too_large_and_each_says_what_it_is() -> None:
    for path in PRODUCT:
        source = path.read_text()
        assert len(source.splitlines()) <= MOST_LINES, path
        assert ast.get_docstring(ast.parse(source)), path


COLD_START = """
import json, sys, time
started = time.process_time()
import {module}
print(json.dumps({{"modules": sorted(sys.modules), "cpu_seconds": time.process_time() - started}}))
"""
HEAVY = {
    "boto3", "openai", "numpy", "tokenizers", "unstructured", "pypdfium2", "qdrant_edge", "uvicorn", "grpc", "pandas",
    "lxml", "httpx", "jwt", "cryptography", "huggingface_hub", "simsimd", "llguidance", "jsonschema_rs",
    "sqlalchemy", "sqlmodel", "alembic", "asyncpg",
}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("functions.chat.main", set()),
        ("functions.ingest.main", set()),
        ("functions.cache_maintenance.main", set()),
    ],
)
def test_importing_a_function_loads_no_vendor_that_it_may_not_need(module: str, allowed: set[str]) -> None:
    modules = cold_start(module)["modules"]
    loaded = {name.split(".")[0] for name in modules}
    assert loaded & HEAVY == allowed
    # FastAPI itself imports OpenTelemetry's interface.
    assert "opentelemetry.sdk" not in modules
    assert not loaded & {"redis", "aiohttp"}, "opened by wiring, when its settings say so"


def test_a_cold_start_leaves_out_what_fastapi_loads_for_nobody() -> None:
    source = """
import json, sys
import functions.chat.main
import pydantic
from fastapi.openapi.models import OpenAPI
before = sorted(sys.modules)
from pydantic import v1
print(json.dumps({"modules": before, "deferred": ["yes"] * pydantic.BaseModel.model_config.get("defer_build", False), "built": ["OpenAPI"] * OpenAPI.__pydantic_complete__}))
"""
    found = run(source)
    assert "pydantic.v1" not in found["modules"], "and whoever wants it later can have it"
    assert not found["deferred"], "models of others are built as ever"
    assert not found["built"], "OpenAPI's are built when somebody asks for the document"


def test_a_started_chat_has_its_heap_left_alone_by_the_garbage_collector() -> None:
    source = """
import asyncio, gc, json, os
os.environ["BUCKET"] = "none"
from functions.chat.main import open_dependencies

async def main():
    before = gc.get_freeze_count()
    async with open_dependencies():
        print(json.dumps({"seen": [str(n) for n in (before, gc.get_freeze_count(), gc.get_threshold()[0])]}))
asyncio.run(main())
"""
    before, started, objects = map(int, run(source)["seen"])
    assert before == 0
    assert started > 10_000
    assert objects == 10_000


def test_wiring_opens_one_vendor_a_seam() -> None:
    source = """
import json, sys
from headrace import wiring
from headrace.settings import Settings
settings = Settings(chat_model="x", embedding_model="y")
wiring.open_store(settings); wiring.open_chat_model(settings, "x"); wiring.open_embedder(settings)
print(json.dumps({"modules": sorted(sys.modules)}))
"""
    loaded = {name.split(".")[0] for name in run(source)["modules"]}
    assert "aiohttp" in loaded
    assert not loaded & {"openai", "numpy", "tokenizers", "redis", "boto3"}, "openai is imported at its first use"


@pytest.mark.parametrize(
    ("store", "loads"),
    [
        ("qdrant", {"aiohttp"}),
        ("pinecone", {"aiohttp"}),
        ("s3vectors", {"aiohttp"}),
        ("redis", {"redis"}),
        ("embedded", {"qdrant_edge"}),
    ],
)
def test_a_store_loads_no_vendor_but_its_own(store: str, loads: set[str]) -> None:
    source = f"""
import json, sys
from headrace import wiring
from headrace.settings import Settings
wiring.open_store(Settings(vector_store={store!r}))
print(json.dumps({{"modules": sorted(sys.modules)}}))
"""
    loaded = {name.split(".")[0] for name in run(source)["modules"]}
    assert loads <= loaded
    assert not loaded & {"qdrant_client", "pinecone", "boto3", "botocore", "grpc", "numpy", "pydantic", "httpx"}
    assert store != "redis" or "aiohttp" not in loaded, "Redis is not asked over HTTP"


def test_near_questions_are_found_without_numpy() -> None:
    source = """
import asyncio, json, sys
from headrace import wiring
from headrace.settings import Settings
from headrace.redis_state.answer_cache.local_index import LocalIndex
from headrace.redis_state.answer_cache.rows import Rows
from headrace.vectors import quantise

async def main():
    async with wiring.open_redis(Settings()) as redis:
        wiring.cache_on(redis, Settings()), wiring.invalidation_planner_on(redis, Settings())
        wiring.single_flight_on(redis, redis)
asyncio.run(main())
before = set(sys.modules)
row = Rows(16)
row.append("a" * 24, "q", 0.5, quantise([0.25] * 16))
index = LocalIndex()
index.rows = row
assert index.nearest([0.25] * 16, at_least=0.9, limit=1)
print(json.dumps({"modules": sorted(sys.modules), "late": sorted(set(sys.modules) - before)}))
"""
    found = run(source)
    loaded = {name.split(".")[0] for name in found["modules"]}
    assert "simsimd" in found["late"], "when the first vectors are compared"
    assert not loaded & {"numpy", "aiohttp", "openai"}


def cold_start(module: str) -> dict[str, list[str]]:
    return run(COLD_START.format(module=module))


def run(source: str) -> dict[str, list[str]]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'shared'}"}
    result = subprocess.run(
        [sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    answer: dict[str, list[str]] = json.loads(result.stdout.splitlines()[-1])
    return answer
