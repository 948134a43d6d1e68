-- The counters have the sums of what is listed, also after the list was lost. KEYS scores, counters. Returns 1 when they
-- did not, and do now.
if tonumber(redis.call('HGET', KEYS[2], 'entries') or 0) == redis.call('ZCARD', KEYS[1]) then return 0 end
local members, bytes = redis.call('ZRANGE', KEYS[1], 0, -1), 0
for i = 1, #members do bytes = bytes + tonumber(string.match(members[i], '(%d+)$')) end
redis.call('HSET', KEYS[2], 'entries', #members, 'bytes', string.format('%.0f', bytes))
return 1
