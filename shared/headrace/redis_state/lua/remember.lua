-- requires: delete_entry

-- Keep an answer, unless documents have changed since the revision that it was made at.
-- KEYS registry, scores, counters, entry, partition. ARGV revision, id, member, incarnation for a new partition, its meta,
-- its kind, its name, row, TTL of the entry and of the partition in ms, tokens, most characters of the list of partitions,
-- then fields and values of the entry.
-- Returns 'lost', 'changed' or 'full' when nothing was written, else {bytes, entries} of the tenant.
local registry, scores, counters, entry, partition = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local head = redis.call('HMGET', registry, 'epoch', 'revision')
if not head[1] then return 'lost' end
if (head[2] or '0') ~= ARGV[1] then return 'changed' end
local before = redis.call('HGET', entry, 'member')
if before then
  -- Another answer to the same question goes.
  unlist(scores, counters, before)
  redis.call('DEL', entry)
end
-- What a judge said of an answer before, gone or expired, it did not say of this one.
forget_aliases(partition, ARGV[2])
local about = redis.call('HMGET', partition, 'incarnation', 'kind')
local incarnation = about[1]
if incarnation and about[2] ~= ARGV[6] then
  -- The index was of the other kind. What only that one knows of could not be invalidated from now on.
  redis.call('DEL', partition)
  incarnation = false
end
if not incarnation then
  local listed = redis.call('HGET', registry, 'partitions') or ''
  if #listed > tonumber(ARGV[12]) then return 'full' end
  incarnation = ARGV[4]
  redis.call('HSET', partition, 'incarnation', incarnation, 'meta', ARGV[5], 'kind', ARGV[6], 'seq', 0, 'checksum', '',
    'packed', 0, 'packed_checksum', '')
  local name = ARGV[7] .. '/' .. ARGV[6] .. ' '
  if not string.find(listed, name, 1, true) then redis.call('HSET', registry, 'partitions', listed .. name) end
end
-- The question is a key of its own entry from now on, and of no other one.
redis.call('HDEL', partition, 'alias:' .. ARGV[2])
redis.call('HINCRBY', registry, 'answers', 1)
if ARGV[8] ~= '' then log_change(partition, '+' .. ARGV[8]) end
redis.call('PEXPIRE', partition, ARGV[10])
redis.call('HSET', entry, 'revision', ARGV[1], 'incarnation', incarnation, 'hits', 0, 'member', ARGV[3], 'tokens', ARGV[11],
  unpack(ARGV, 13))
redis.call('PEXPIRE', entry, ARGV[9])
local clock = tonumber(redis.call('HGET', counters, 'clock') or 0)
local bytes = tonumber(string.match(ARGV[3], '(%d+)$'))
if redis.call('ZADD', scores, clock + (tonumber(ARGV[11]) + 1) / bytes, ARGV[3]) == 1 then
  redis.call('HINCRBY', counters, 'bytes', bytes)
  redis.call('HINCRBY', counters, 'entries', 1)
end
redis.call('HINCRBY', counters, 'remembered', 1)
return {redis.call('HGET', counters, 'bytes'), redis.call('HGET', counters, 'entries')}
