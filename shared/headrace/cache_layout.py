"""How the answer cache lies in Redis: its keys, and the Lua that takes an entry out.

The registry's flip takes out entries in the very script that makes a new version current, so both know this page. All
keys of a tenant share one hash tag, hence one slot of a cluster; a script names every key that it touches.

- `answer:<partition>:<id>` an entry, one hash: its events (`body`), what it rests on (`revision`, `documents`), `born`,
  `question`, and for its worth `tokens`, `hits`, `member`.
- `question:<partition>:<id>` what a search module indexes of it, where there is one. (Then the scripts reach it by the
  entry's key: a server with such a module is no cluster that would mind.)
- `partition:<name>` the index of a partition, one hash, so that it is lost or kept as a whole: `born` (its life's name),
  `meta`, `seq` (number of the last change), `mark` (that change's name), `packed` and `packed_mark` (the last change that
  blocks contain), `e:<seq>` a change (its mark, then `+` and a row, or `-` and an id), `b:<number>` a block of rows. Fields
  `e:<packed+1>` to `e:<seq>` are the log of changes. A mark is made of the change and the mark before it: a server that
  lost its last writes gives their numbers away again, but not their marks.
- `cache:worth` a sorted set of entries by worth: members `<partition>:<id>:<bytes>`.
- `cache:tally` counters; `bytes` and `entries` count what `cache:worth` has.
- `cache:wanted` a sorted set of retired questions that are worth asking again.
- in the registry's hash: `answers` (number of entries that ever came in), `partitions` (`<name>/<kind> ` of each),
  `holds_from` (answers made at this revision or a later one still hold, if they are there).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from headrace.redis_client import tenant_key

WANTED_LIMIT = 1000
MARK_CHARACTERS = 12


def registry_key(tenant: str) -> str:
    """The hash that a tenant's registry is."""
    return tenant_key(tenant, "registry")


def current_value(generation: int, groups: Sequence[str]) -> str:
    """What the registry has in `c:<key>` of a document that searches may show, to be compared as it stands."""
    return json.dumps([generation, list(groups)])


def entry_key(tenant: str, partition: str, entry: str) -> str:
    """The hash that an answer is."""
    return tenant_key(tenant, "answer", partition, entry)


def question_key(tenant: str, partition: str, entry: str) -> str:
    """The hash that a server's search module indexes for an entry, where it does: its question and its vector.

    Apart from the entry, or every hit would index it anew.
    """
    return tenant_key(tenant, "question", partition, entry)


def partition_key(tenant: str, partition: str) -> str:
    """The hash that a partition's index is."""
    return tenant_key(tenant, "partition", partition)


def search_index(tenant: str, partition: str) -> str:
    """The name of the server's index of a partition, where it has one."""
    return tenant_key(tenant, "questions", partition)


def ledger_keys(tenant: str) -> tuple[str, str, str]:
    """`worth`, `tally` and `wanted`."""
    return tenant_key(tenant, "cache:worth"), tenant_key(tenant, "cache:tally"), tenant_key(tenant, "cache:wanted")


# The field of a change of a partition, and the mark that the change begins with.
CHANGE = f"""
local function change_field(number) return 'e:' .. string.format('%.0f', tonumber(number)) end
local function mark_of(change) return string.sub(change or '', 1, {MARK_CHARACTERS}) end
"""

# drop(entry, partition, worth, tally, wanted, id, reason): 1 when there was such an entry.
# Without wanted (false) its question is not to be asked again.
DROP = f"""{CHANGE}
local function unlist(worth, tally, member)
  if redis.call('ZREM', worth, member) == 1 then
    redis.call('HINCRBY', tally, 'bytes', -tonumber(string.match(member, '(%d+)$')))
    redis.call('HINCRBY', tally, 'entries', -1)
  end
end
local function log_change(partition, change)
  local seq = redis.call('HINCRBY', partition, 'seq', 1)
  local mark = mark_of(redis.sha1hex((redis.call('HGET', partition, 'mark') or '') .. change))
  redis.call('HSET', partition, 'mark', mark, change_field(seq), mark .. change)
end
local function drop(entry, partition, worth, tally, wanted, id, reason)
  local held = redis.call('HMGET', entry, 'member', 'tokens', 'hits', 'question')
  if not held[1] then return 0 end
  redis.call('DEL', entry)
  unlist(worth, tally, held[1])
  redis.call('HINCRBY', tally, 'retired:' .. reason, 1)
  local about = redis.call('HMGET', partition, 'born', 'meta', 'kind')
  if about[1] and about[3] == 'mirror' then log_change(partition, '-' .. id) end
  if about[3] == 'search' then redis.call('DEL', (string.gsub(entry, ':answer:', ':question:', 1))) end
  if wanted and about[2] and tonumber(held[3]) > 0 then
    redis.call('ZADD', wanted, 'GT', tonumber(held[3]) * (tonumber(held[2]) + 1), about[2] .. '\\n' .. held[4])
    redis.call('ZREMRANGEBYRANK', wanted, 0, -{WANTED_LIMIT + 1})
    redis.call('EXPIRE', wanted, 604800)
  end
  return 1
end
"""
