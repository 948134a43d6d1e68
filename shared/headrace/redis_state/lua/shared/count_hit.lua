-- A hit: the entry's score rises by the tokens that it saved, per byte.
local function count_hit(entry, scores, counters, kind, tokens)
  redis.call('HINCRBY', counters, kind, 1)
  redis.call('HINCRBY', counters, 'tokens_saved', tokens)
  redis.call('HINCRBY', entry, 'hits', 1)
  local member = redis.call('HGET', entry, 'member')
  redis.call('ZADD', scores, 'XX', 'INCR', (tonumber(tokens) + 1) / tonumber(string.match(member, '(%d+)$')), member)
end
