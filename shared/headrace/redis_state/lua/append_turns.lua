-- Add turns to a conversation. A script, because a transaction blocks the event loop in cluster mode.
-- KEYS conversation. ARGV most turns, seconds to keep, turns.
redis.call('RPUSH', KEYS[1], unpack(ARGV, 3))
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[1]), -1)
return redis.call('EXPIRE', KEYS[1], ARGV[2])
