"""The Lua of the answer cache: each step that must be one, is one. headrace.cache_layout says what lies where."""

from __future__ import annotations

from headrace.cache_layout import CHANGE, DROP

# Most changes of a partition that a lookup brings along; who is further behind reads the partition anew.
CHANGES_PAGE = 500

# news(partition, known life, known last change, its mark): life, last change, its mark, and the changes between; or without
# these, when the partition has to be read anew; life '' when there is none.
NEWS_OF = f"""
local function news(partition, known_born, known_seq, known_mark)
  local at = redis.call('HMGET', partition, 'born', 'seq', 'mark', 'packed', 'packed_mark')
  if not at[1] then return {{'', 0, ''}} end
  local last, first, packed = tonumber(at[2]), tonumber(known_seq), tonumber(at[4])
  local anew = {{at[1], last, at[3] or ''}}
  if at[1] ~= known_born or first > last or first < packed or last - first > {CHANGES_PAGE} then return anew end
  local mark = at[3]
  if first < last then
    mark = first == packed and at[5] or mark_of(redis.call('HGET', partition, change_field(first)))
  end
  if mark ~= known_mark then return anew end
  local fields = {{}}
  for number = first + 1, last do fields[#fields + 1] = change_field(number) end
  return {{at[1], last, at[3], #fields > 0 and redis.call('HMGET', partition, unpack(fields)) or {{}}}}
end
"""

# KEYS partition. ARGV life, last change and mark that are known.
NEWS = CHANGE + NEWS_OF + "return news(KEYS[1], ARGV[1], ARGV[2], ARGV[3])"

# A hit: worth rises by what it saved. KEYS and ARGV are the caller's.
COUNT = """
local function count(entry, worth, tally, kind, tokens)
  redis.call('HINCRBY', tally, kind, 1)
  redis.call('HINCRBY', tally, 'tokens_saved', tokens)
  redis.call('HINCRBY', entry, 'hits', 1)
  local member = redis.call('HGET', entry, 'member')
  redis.call('ZADD', worth, 'XX', 'INCR', (tonumber(tokens) + 1) / tonumber(string.match(member, '(%d+)$')), member)
end
"""

# is_current(registry, documents): whether the registry says of each document what the answer rests on.
IS_CURRENT = """
local function is_current(registry, documents)
  local pairs = cjson.decode(documents)
  if #pairs == 0 then return true end
  local fields = {}
  for i = 1, #pairs, 2 do fields[#fields + 1] = 'c:' .. pairs[i] end
  local shown = redis.call('HMGET', registry, unpack(fields))
  for i = 1, #shown do if shown[i] ~= pairs[2 * i] then return false end end
  return true
end
"""

# Many lookups of one tenant. KEYS registry, worth, tally, wanted, then partitions, then entries. ARGV the number of
# partitions; for each what is known of it: life ('-' where nothing needs to be), last change, its mark; then for all entries
# `<number of its partition>:<what a hit counts as>:<the version of it that is known> `. Answers the revision; for each entry
# verdict, version, revision, and unless that version is known body, documents, question, bar, time; for each partition its news.
FIND = (
    DROP
    + COUNT
    + NEWS_OF
    + IS_CURRENT
    + """
local registry, worth, tally, wanted, partitions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], tonumber(ARGV[1])
local head = redis.call('HMGET', registry, 'epoch', 'revision', 'holds_from')

local function look(entry, partition, kind, known, born)
  if kind == 'exact' then redis.call('HINCRBY', tally, 'lookups', 1) end
  if not head[1] then return {'miss'} end
  local held = redis.call('HMGET', entry, 'made', 'revision', 'documents', 'born', 'tokens', 'question', 'bar', 'created')
  if not held[1] then return {'miss'} end
  local id = string.match(entry, '[^:]+$')
  if held[4] ~= born then
    drop(entry, partition, worth, tally, false, id, 'orphaned')
    return {'miss'}
  end
  if not is_current(registry, held[3]) then
    drop(entry, partition, worth, tally, wanted, id, 'changed')
    return {'miss'}
  end
  local settled = tonumber(held[2]) >= tonumber(head[3] or 0)
  if settled and kind ~= '' then count(entry, worth, tally, kind, held[5]) end
  local verdict = settled and 'holds' or 'unsettled'
  if held[1] == known then return {verdict, held[1], held[2]} end
  return {verdict, held[1], held[2], redis.call('HGET', entry, 'body'), held[3], held[6], held[7], held[8]}
end

local born, found, since = {}, {}, {}
for i = 1, partitions do born[i] = redis.call('HGET', KEYS[4 + i], 'born') end
local at = 4 + partitions
for place, kind, known in string.gmatch(ARGV[3 * partitions + 2], '(%d+):(%a*):(%w*) ') do
  at, place = at + 1, tonumber(place)
  found[#found + 1] = look(KEYS[at], KEYS[4 + place], kind, known, born[place])
end
for i = 1, partitions do
  local point = 3 * i - 1
  since[i] = ARGV[point] == '-' and {} or news(KEYS[4 + i], ARGV[point], ARGV[point + 1], ARGV[point + 2])
end
return {head[2] or '0', found, since}
"""
)

# KEYS registry, worth, tally, entry, partition. ARGV revision, id, member, life of
# a new partition, its meta, its kind, its name, row, TTL and the partition's TTL in ms, tokens, most
# characters of the list of partitions, then fields and values.
REMEMBER = (
    DROP
    + """
local registry, worth, tally, entry, partition = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local head = redis.call('HMGET', registry, 'epoch', 'revision')
if not head[1] then return 'lost' end
if (head[2] or '0') ~= ARGV[1] then return 'changed' end
local before = redis.call('HGET', entry, 'member')
if before then
  unlist(worth, tally, before)
  redis.call('DEL', entry)
end
local about = redis.call('HMGET', partition, 'born', 'kind')
local born = about[1]
if born and about[2] ~= ARGV[6] then
  -- The index was another one's: what only that one knows of is not to be served.
  redis.call('DEL', partition)
  born = false
end
if not born then
  local there = redis.call('HGET', registry, 'partitions') or ''
  if #there > tonumber(ARGV[12]) then return 'full' end
  born = ARGV[4]
  redis.call('HSET', partition, 'born', born, 'meta', ARGV[5], 'kind', ARGV[6], 'seq', 0, 'mark', '', 'packed', 0, 'packed_mark', '')
  local name = ARGV[7] .. '/' .. ARGV[6] .. ' '
  if not string.find(there, name, 1, true) then redis.call('HSET', registry, 'partitions', there .. name) end
end
redis.call('HINCRBY', registry, 'answers', 1)
if ARGV[8] ~= '' then log_change(partition, '+' .. ARGV[8]) end
redis.call('PEXPIRE', partition, ARGV[10])
redis.call('HSET', entry, 'revision', ARGV[1], 'born', born, 'hits', 0, 'member', ARGV[3], 'tokens', ARGV[11], unpack(ARGV, 13))
redis.call('PEXPIRE', entry, ARGV[9])
local clock = tonumber(redis.call('HGET', tally, 'clock') or 0)
local bytes = tonumber(string.match(ARGV[3], '(%d+)$'))
if redis.call('ZADD', worth, clock + (tonumber(ARGV[11]) + 1) / bytes, ARGV[3]) == 1 then
  redis.call('HINCRBY', tally, 'bytes', bytes)
  redis.call('HINCRBY', tally, 'entries', 1)
end
redis.call('HINCRBY', tally, 'remembered', 1)
return {redis.call('HGET', tally, 'bytes'), redis.call('HGET', tally, 'entries')}
"""
)

# Somebody has looked: nothing that came up to this revision would have been retrieved. KEYS entry, worth, tally.
# ARGV version, revision, what the hit counts as.
CONFIRM = (
    COUNT
    + """
local held = redis.call('HMGET', KEYS[1], 'made', 'revision', 'tokens')
if held[1] ~= ARGV[1] then return 0 end
if tonumber(ARGV[2]) > tonumber(held[2]) then redis.call('HSET', KEYS[1], 'revision', ARGV[2]) end
if ARGV[3] ~= '' then count(KEYS[1], KEYS[2], KEYS[3], ARGV[3], held[3]) end
return 1
"""
)

# KEYS worth, tally, wanted, then for each: entry, partition. ARGV reason, whether to ask again ('1'), then the ids.
RETIRE = (
    DROP
    + """
local gone = 0
for i = 4, #KEYS, 2 do
  gone = gone + drop(KEYS[i], KEYS[i + 1], KEYS[1], KEYS[2], ARGV[2] == '1' and KEYS[3], ARGV[3 + (i - 4) / 2], ARGV[1])
end
return gone
"""
)

# Room is needed. KEYS worth, tally, entry, partition. ARGV member, id. The clock of worth advances to what had to go, so
# that what was worth much long ago does not stay for ever: GreedyDual-Size-Frequency (Cherkasova, HPL-98-69, 1998).
EVICT = (
    DROP
    + """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return 0 end
redis.call('HSET', KEYS[2], 'clock', score)
if redis.call('HGET', KEYS[3], 'member') == ARGV[1] then
  return drop(KEYS[3], KEYS[4], KEYS[1], KEYS[2], false, ARGV[2], 'evicted')
end
unlist(KEYS[1], KEYS[2], ARGV[1])
-- It has expired: its question goes, too.
if redis.call('EXISTS', KEYS[3]) == 0 and redis.call('HGET', KEYS[4], 'kind') == 'mirror' then log_change(KEYS[4], '-' .. ARGV[2]) end
return 1
"""
)

# A page of a sweep. KEYS registry, worth, tally, wanted, then for each: entry, partition. ARGV '1' for a dry run, then for
# each: member, id. Answers for each what it is; unless the run is dry, what holds no more is gone afterwards.
AUDIT = (
    DROP
    + IS_CURRENT
    + """
local registry, worth, tally, wanted, dry = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1] == '1'
local head = redis.call('HMGET', registry, 'epoch', 'holds_from')
local found = {}
for i = 5, #KEYS, 2 do
  local entry, partition = KEYS[i], KEYS[i + 1]
  local member, id = ARGV[i - 3], ARGV[i - 2]
  local held = redis.call('HMGET', entry, 'member', 'born', 'documents', 'revision')
  local about = redis.call('HMGET', partition, 'born', 'kind')
  local verdict = 'settled'
  if held[1] ~= member then
    -- It expired, or another answer to the question took its place and is listed for itself.
    verdict = held[1] and 'replaced' or 'expired'
    if not dry then
      unlist(worth, tally, member)
      if verdict == 'expired' then
        redis.call('HINCRBY', tally, 'retired:expired', 1)
        if about[2] == 'mirror' then log_change(partition, '-' .. id) end
      end
    end
  elseif held[2] ~= about[1] then
    verdict = 'orphaned'
    if not dry then drop(entry, partition, worth, tally, false, id, verdict) end
  elseif not is_current(registry, held[3]) then
    verdict = 'changed'
    if not dry then drop(entry, partition, worth, tally, wanted, id, verdict) end
  elseif not head[1] or tonumber(held[4]) < tonumber(head[2] or 0) then
    verdict = 'unsettled'
  end
  found[#found + 1] = verdict
end
return found
"""
)

# Blocks take the place of changes. KEYS partition. ARGV life, packed so far, last change that the blocks contain, its mark,
# number of blocks so far, then blocks. 0: somebody else was at it.
COMPACT = (
    CHANGE
    + """
local index = redis.call('HMGET', KEYS[1], 'born', 'packed', 'seq')
if index[1] ~= ARGV[1] or index[2] ~= ARGV[2] or tonumber(index[3]) < tonumber(ARGV[3]) then return 0 end
if mark_of(redis.call('HGET', KEYS[1], change_field(ARGV[3]))) ~= ARGV[4] then return 0 end
for number = 0, tonumber(ARGV[5]) - 1 do redis.call('HDEL', KEYS[1], 'b:' .. number) end
for number = tonumber(ARGV[2]) + 1, tonumber(ARGV[3]) do redis.call('HDEL', KEYS[1], change_field(number)) end
for i = 6, #ARGV do redis.call('HSET', KEYS[1], 'b:' .. (i - 6), ARGV[i]) end
redis.call('HSET', KEYS[1], 'packed', ARGV[3], 'packed_mark', ARGV[4])
return 1
"""
)

# The tally says what the ledger has, also after the ledger was lost. KEYS worth, tally. 1: it did not.
RECOUNT = """
if tonumber(redis.call('HGET', KEYS[2], 'entries') or 0) == redis.call('ZCARD', KEYS[1]) then return 0 end
local members, bytes = redis.call('ZRANGE', KEYS[1], 0, -1), 0
for i = 1, #members do bytes = bytes + tonumber(string.match(members[i], '(%d+)$')) end
redis.call('HSET', KEYS[2], 'entries', #members, 'bytes', string.format('%.0f', bytes))
return 1
"""

# KEYS registry, then partitions. ARGV their names in the registry. Forgets those that are gone; a tenant's list is short.
FORGET = """
local there = redis.call('HGET', KEYS[1], 'partitions') or ''
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    local from, to = string.find(there, ARGV[i - 1] .. ' ', 1, true)
    if from then there = string.sub(there, 1, from - 1) .. string.sub(there, to + 1) end
  end
end
redis.call('HSET', KEYS[1], 'partitions', there)
return there
"""
