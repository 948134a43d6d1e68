-- requires: delete_entry, count_hit, is_current

-- A judge's yes: a question becomes another key of an entry, if the entry still stands: documents may have changed while
-- the judge read.
-- KEYS registry, scores, counters, entry, partition. ARGV version of the entry, its id, id of the question, similarity,
-- tokens of the verdict, most aliases of an entry. Returns 1, or 0 when the entry does not stand any more.
local registry, scores, counters, entry, partition = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
redis.call('HINCRBY', counters, 'judged', 1)
redis.call('HINCRBY', counters, 'judge_tokens', ARGV[5])
local head = redis.call('HMGET', registry, 'epoch', 'fresh_from')
local held = redis.call('HMGET', entry, 'version', 'revision', 'documents', 'incarnation', 'tokens')
if not head[1] or held[1] ~= ARGV[1] then return 0 end
if held[4] ~= redis.call('HGET', partition, 'incarnation') then return 0 end
if not is_current(registry, held[3]) or tonumber(held[2]) < tonumber(head[2] or 0) then return 0 end
count_hit(entry, scores, counters, 'semantic', held[5])
local field, aliases = 'aliases:' .. ARGV[2], {}
for alias in string.gmatch(redis.call('HGET', partition, field) or '', '%S+') do
  if alias ~= ARGV[3] then aliases[#aliases + 1] = alias end
end
-- The oldest one makes room.
if #aliases >= tonumber(ARGV[6]) then forget_alias(partition, table.remove(aliases, 1), ARGV[2]) end
aliases[#aliases + 1] = ARGV[3]
redis.call('HSET', partition, field, table.concat(aliases, ' '), 'alias:' .. ARGV[3],
  ARGV[2] .. ' ' .. ARGV[1] .. ' ' .. ARGV[4])
return 1
