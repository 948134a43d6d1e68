-- Add turns to a conversation, and note it among its principal's. A script, because a transaction blocks the event loop in
-- cluster mode.
-- KEYS conversation, the principal's conversations, their titles, the mark that it was forgotten. ARGV most turns, seconds to keep, most conversations, the
-- conversation's name (empty: it is not listed), a title for a new one, now in seconds, turns.
if redis.call('EXISTS', KEYS[4]) == 1 then return -1 end
redis.call('RPUSH', KEYS[1], unpack(ARGV, 7))
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[1]), -1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
if ARGV[4] == '' then return 0 end
redis.call('ZADD', KEYS[2], ARGV[6], ARGV[4])
redis.call('HSETNX', KEYS[3], ARGV[4], ARGV[5])
-- What has expired, and the oldest of too many, are listed no longer.
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', tonumber(ARGV[6]) - tonumber(ARGV[2]))
local surplus = redis.call('ZCARD', KEYS[2]) - #gone - tonumber(ARGV[3])
if surplus > 0 then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[2], #gone, #gone + surplus - 1)) do gone[#gone + 1] = name end
end
for _, name in ipairs(gone) do
  redis.call('ZREM', KEYS[2], name)
  redis.call('HDEL', KEYS[3], name)
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[2])
return #gone
