-- requires: delete_entry, count_hit, log_since, is_current

-- Many lookups of one tenant in one step: an entry is held against the registry as it stands at this moment, so that none
-- is given whose documents have changed.
-- KEYS registry, scores, counters, warm, rejected, then partitions, then entries.
-- ARGV number of partitions; for each the position of its log that the caller knows: incarnation ('-' where it keeps no
-- index), number, checksum; then for all entries one text of
-- `<number of the partition>:<kind>:<known version>:<alias>:<asked> `. Of kind `exact` it counts as a lookup and a hit, of
-- kind `hit` as a hit, else as neither. `alias` is the id of the question
-- that the caller believes to be another key of the entry; `asked` the id of a question for which the entry is a candidate.
-- Returns the revision; for each entry {'miss'}, {'rejected'}, {'alias', id, similarity}, or verdict, version, revision,
-- and unless that version is known body, documents, question, admission score, time; for each partition its log_since.
local registry, scores, counters, warm, rejected = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local partitions, FIRST = tonumber(ARGV[1]), 5
local head = redis.call('HMGET', registry, 'epoch', 'revision', 'fresh_from')

local function look_up(entry, partition, ask, incarnation)
  if ask.kind == 'exact' then redis.call('HINCRBY', counters, 'lookups', 1) end
  -- A registry that was lost says nothing: neither that documents are current, nor that they are not.
  if not head[1] then return {'miss'} end
  local id = string.match(entry, '[^:]+$')
  local judged = ask.alias ~= '' and redis.call('HGET', partition, 'alias:' .. ask.alias)
  if ask.alias ~= '' and (not judged or string.sub(judged, 1, #id) ~= id) then return {'miss'} end
  local held = redis.call('HMGET', entry, 'version', 'revision', 'documents', 'incarnation', 'tokens', 'question',
    'admission_score', 'created')
  if judged and string.match(judged, '^%S+ (%S+)') ~= held[1] then
    -- The answer that was judged expired, and perhaps another one took its place.
    redis.call('HDEL', partition, 'alias:' .. ask.alias)
    return {'miss'}
  end
  if not held[1] then
    -- A candidate is known by its own question alone.
    local alias = ask.asked == '' and redis.call('HGET', partition, 'alias:' .. id) or ''
    local other, similarity = string.match(alias, '^(%S+) %S+ (%S+)$')
    return other and {'alias', other, similarity} or {'miss'}
  end
  if held[4] ~= incarnation then
    -- The partition's index was lost, and with it what could invalidate this entry.
    delete_entry(entry, partition, scores, counters, false, id, 'orphaned')
    return {'miss'}
  end
  if not is_current(registry, held[3]) then
    delete_entry(entry, partition, scores, counters, warm, id, 'changed')
    return {'miss'}
  end
  if ask.asked ~= '' then
    local partition_name = string.match(partition, '[^:]+$')
    local member = partition_name .. ':' .. ask.asked .. ':' .. id .. ':' .. held[1]
    if redis.call('ZSCORE', rejected, member) then return {'rejected'} end
  end
  local is_fresh = tonumber(held[2]) >= tonumber(head[3] or 0)
  if is_fresh and ask.kind ~= '' then
    count_hit(entry, scores, counters, 'exact', held[5])
  end
  local verdict = is_fresh and 'fresh' or 'stale'
  if held[1] == ask.known then return {verdict, held[1], held[2]} end
  return {verdict, held[1], held[2], redis.call('HGET', entry, 'body'), held[3], held[6], held[7], held[8]}
end

local incarnations, found, logs = {}, {}, {}
for i = 1, partitions do incarnations[i] = redis.call('HGET', KEYS[FIRST + i], 'incarnation') end
local at = FIRST + partitions
for number, kind, known, alias, asked in string.gmatch(ARGV[3 * partitions + 2], '(%d+):(%a*):(%w*):(%x*):(%x*) ') do
  at, number = at + 1, tonumber(number)
  local ask = {kind = kind, known = known, alias = alias, asked = asked}
  found[#found + 1] = look_up(KEYS[at], KEYS[FIRST + number], ask, incarnations[number])
end
-- The logs come last: what the lookups deleted stands in them.
for i = 1, partitions do
  local position = 3 * i - 1
  logs[i] = ARGV[position] == '-' and {} or log_since(KEYS[FIRST + i], ARGV[position], ARGV[position + 1], ARGV[position + 2])
end
return {head[2] or '0', found, logs}
