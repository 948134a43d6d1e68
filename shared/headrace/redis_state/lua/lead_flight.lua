-- requires: follow
-- Take the lead of a flight, if nobody has it; else follow. Sent twice, because its reply was lost, it leads once.
-- KEYS lease, messages. ARGV token, lease in ms. Returns '' when this process leads; else the leader's token if it does not
-- know yet that it is followed, or '+'.
local held = redis.call('GET', KEYS[1])
if held == ARGV[1] or held == ARGV[1] .. '+' then return '' end
if held then return follow(KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[2])
return ''
