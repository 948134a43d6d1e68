-- Forget a conversation, so that no answer that is on its way brings it back.
-- KEYS conversation, the principal's conversations, their titles, the mark that it is gone. ARGV the conversation's name, seconds
-- that the mark is kept. Returns whether it was there.
local gone = redis.call('DEL', KEYS[1]) + redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
if gone == 0 then return 0 end
redis.call('SET', KEYS[4], '1', 'EX', ARGV[2])
return 1
