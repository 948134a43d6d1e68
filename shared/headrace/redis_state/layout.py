"""Which key of Redis holds what. All keys of a tenant share one hash tag, hence one slot of a cluster.

The document registry, `registry`, one hash, so that it is lost or kept as a whole, and read at one moment:
- `epoch` (this life's name), `attempt` (the newest attempt's number), `revision`, `watermark`, `model`;
- for each document `r:<key>` (its record), `c:<key>` (what searches may show: generation and groups), `a:<key>` (the number
  of its newest attempt), `l:<key>` (its label: state and groups);
- `records` (how many documents are indexed), if there is an index: `registry:names` a sorted set of all keys, and
  `registry:<state>` of those in a state, `registry:counts` a hash of how many have each label, and `registry:changes` a stream
  of the keys of records as they are written. What of it is lost is made anew from the records;
- for the answer cache `answers` (how many answers ever came in), `partitions` (`<name>/<kind> ` of each), and `fresh_from`
  (an answer made at this revision or a later one is fresh, if it is there).

The answer cache:
- `answer:<partition>:<id>` an entry, one hash: its events (`body`), its provenance (`revision`, `documents`,
  `admission_score`), `incarnation` (of the partition that indexes it), `version`, `question`, `created`, and for its score
  `tokens`, `hits`, `member`.
- `question:<partition>:<id>` what a server's search module indexes of it, where there is one. (The scripts reach it by the
  entry's key: a server with such a module is no cluster that would mind.)
- `partition:<name>` the index of a partition, one hash, so that it is lost or kept as a whole: `incarnation` (this life's
  name), `kind`, `meta`, `seq` and `checksum` (number and checksum of the last change), `packed` and `packed_checksum` (of the
  last change that blocks contain), `e:<seq>` a change, `b:<number>` a block of rows; `alias:<id>` (the entry, its
  version, and the similarity, that a judge found for another question) and `aliases:<id>` (the other questions of an entry).
- `cache:scores` a sorted set of entries by score, members `<partition>:<id>:<bytes>`; `cache:counters`, in which `bytes` and
  `entries` are its sums; `cache:warm` a sorted set of warm candidates; `cache:rejected` a sorted set, by time, of what a
  judge rejected: `<partition>:<question>:<entry>:<version>`.

`conversation:<digest>` a list of turns, of one principal; `conversations:<digest>` a sorted set of a principal's, by the time (s)
of their last turn, and `titles:<digest>` a hash of their titles. `flight:<name>` a stream of a shared answer's messages, with
`flight:<name>:lease` (whose it is, and `+` behind it once somebody follows); `run:<digest>` a stream of one asker's run, with `run:<digest>:lease` (`made`, or `stop`).

`use:<digest>` what a principal uses, one hash: `due` (when the next request would be in step with the rate, in ms since the
epoch), `day` and `tokens` (what answers cost on that day); `open:<digest>` a sorted set of its requests that are under way,
by the time (ms) when they count no more.

Of no tenant: `headrace:tenants`, `headrace:ledger` (a stream of records that wait for the ledger's database), `headrace:socket:<id>` (who is behind a connection of a WebSocket API), `headrace:api-keys` (records of API keys by id), and `headrace:tokens:<day>` (what all
answers of a day cost).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from headrace.clients.redis import tenant_key
from headrace.types import Document, DocumentState, RunName

# How many characters of a checksum are kept; lua/shared/log.lua has the same number.
CHECKSUM_CHARACTERS = 12
# In the order of lua/shared/index_document.lua.
STATES = (
    DocumentState.QUEUED,
    DocumentState.PARSING,
    DocumentState.EMBEDDING,
    DocumentState.READY,
    DocumentState.FAILED,
)
LABEL_JOINT = "\x1f"


def registry_key(tenant: str) -> str:
    """The key of the tenant's registry hash."""
    return tenant_key(tenant, "registry")


def index_keys(tenant: str) -> list[str]:
    """The keys of the index of a tenant's documents, in the order of lua/shared/index_document.lua."""
    names = ("names", "counts", "changes", *(str(state) for state in STATES))
    return [tenant_key(tenant, "registry", name) for name in names]


def label_of(document: Document) -> str:
    """What documents are counted by: the state, then who may see it."""
    return LABEL_JOINT.join((document.state, *document.groups))


def use_key(tenant: str, principal: str) -> str:
    """The key of what a principal uses."""
    return tenant_key(tenant, "use", digest_of(principal))


def open_key(tenant: str, principal: str) -> str:
    """The key of a principal's requests that are under way."""
    return tenant_key(tenant, "open", digest_of(principal))


def conversation_key(tenant: str, principal: str, conversation_id: str) -> str:
    """The key of a conversation: a name is its principal's alone."""
    return tenant_key(tenant, "conversation", digest_of(principal, conversation_id))


def conversations_key(tenant: str, principal: str) -> str:
    """The key of a principal's conversations, by the time of their last turn."""
    return tenant_key(tenant, "conversations", digest_of(principal))


def titles_key(tenant: str, principal: str) -> str:
    """The key of the titles of a principal's conversations."""
    return tenant_key(tenant, "titles", digest_of(principal))


def run_keys(run: RunName) -> tuple[str, str]:
    """The keys of a run's lease and of its messages."""
    name = digest_of(run.owner, run.scope, run.id)
    return tenant_key(run.tenant, "run", name, "lease"), tenant_key(run.tenant, "run", name)


def socket_key(connection_id: str) -> str:
    """The key of who is behind a connection of a WebSocket API."""
    return f"headrace:socket:{digest_of(connection_id)}"


def day_key(day: int) -> str:
    """The key of the tokens that all answers of a day cost; `day` counts from the epoch."""
    return f"headrace:tokens:{day}"


def digest_of(*names: str) -> str:
    """A key's part for names that come from outside; no two lists of names have the same."""
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:32]


def current_value(generation: int, groups: Sequence[str]) -> str:
    """What the registry has in `c:<key>` of a document that searches may show, to be compared as it stands."""
    return json.dumps([generation, list(groups)])


def entry_key(tenant: str, partition: str, entry: str) -> str:
    """The key of an entry's hash."""
    return tenant_key(tenant, "answer", partition, entry)


def question_key(tenant: str, partition: str, entry: str) -> str:
    """The key of the hash that a server's search module indexes for an entry: its question and its vector.

    Apart from the entry, or every hit would index it anew.
    """
    return tenant_key(tenant, "question", partition, entry)


def partition_key(tenant: str, partition: str) -> str:
    """The key of a partition's hash."""
    return tenant_key(tenant, "partition", partition)


def search_index(tenant: str, partition: str) -> str:
    """The name of the server's index of a partition, where it has one."""
    return tenant_key(tenant, "questions", partition)


def scores_key(tenant: str) -> str:
    """The entries by score."""
    return tenant_key(tenant, "cache:scores")


def counters_key(tenant: str) -> str:
    """The cache's counters."""
    return tenant_key(tenant, "cache:counters")


def warm_key(tenant: str) -> str:
    """The warm candidates by score."""
    return tenant_key(tenant, "cache:warm")


def rejected_key(tenant: str) -> str:
    """What a judge rejected, by time."""
    return tenant_key(tenant, "cache:rejected")


def accounts(tenant: str) -> tuple[str, str, str]:
    """Scores, counters and warm candidates: what changes when an entry leaves."""
    return scores_key(tenant), counters_key(tenant), warm_key(tenant)
