-- requires: follow
-- Take the lead of a flight, if nobody has it; else follow. Sent twice, because its reply was lost, it leads once.
-- KEYS lease, messages. ARGV token, lease in ms. Returns 1, or 0 when another process leads.
local held = redis.call('GET', KEYS[1])
if held == ARGV[1] or held == ARGV[1] .. '+' then return 1 end
if follow(KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[2])
return 1
