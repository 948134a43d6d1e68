-- requires: log

-- Take an entry off the list of scores, and out of the sums. Its size stands at the end of its member.
local function unlist(scores, counters, member)
  if redis.call('ZREM', scores, member) == 1 then
    redis.call('HINCRBY', counters, 'bytes', -tonumber(string.match(member, '(%d+)$')))
    redis.call('HINCRBY', counters, 'entries', -1)
  end
end

-- A question is no key of this entry any more. It may be one of another entry by now.
local function forget_alias(partition, alias, id)
  local held = redis.call('HGET', partition, 'alias:' .. alias)
  if held and string.sub(held, 1, #id) == id then redis.call('HDEL', partition, 'alias:' .. alias) end
end

-- Questions that a judge made keys of this entry lose it.
local function forget_aliases(partition, id)
  local aliases = redis.call('HGET', partition, 'aliases:' .. id)
  if not aliases then return end
  for alias in string.gmatch(aliases, '%S+') do forget_alias(partition, alias, id) end
  redis.call('HDEL', partition, 'aliases:' .. id)
end

-- What the index knows of an entry that expired by itself.
local function forget_expired(partition, id)
  forget_aliases(partition, id)
  if redis.call('HGET', partition, 'kind') == 'local' then log_change(partition, '-' .. id) end
end

-- delete_entry(entry, partition, scores, counters, warm, id, reason): 1 when there was such an entry. `warm` is the list of
-- warm candidates; false: the question is not to be asked again by itself.
local function delete_entry(entry, partition, scores, counters, warm, id, reason)
  local held = redis.call('HMGET', entry, 'member', 'tokens', 'hits', 'question')
  if not held[1] then return 0 end
  redis.call('DEL', entry)
  unlist(scores, counters, held[1])
  redis.call('HINCRBY', counters, 'invalidated:' .. reason, 1)
  local about = redis.call('HMGET', partition, 'incarnation', 'meta', 'kind')
  -- Without an incarnation the partition is lost: a change logged now would begin one that lacks everything else.
  if about[1] and about[3] == 'local' then log_change(partition, '-' .. id) end
  if about[1] then forget_aliases(partition, id) end
  if about[3] == 'server' then redis.call('DEL', (string.gsub(entry, ':answer:', ':question:', 1))) end
  if warm and about[2] and tonumber(held[3]) > 0 then
    redis.call('ZADD', warm, 'GT', tonumber(held[3]) * (tonumber(held[2]) + 1), about[2] .. '\n' .. held[4])
    -- The thousand with the highest scores are kept, for a week.
    redis.call('ZREMRANGEBYRANK', warm, 0, -1001)
    redis.call('EXPIRE', warm, 604800)
  end
  return 1
end
