-- Send a leader's messages, and renew its lease. Sent twice, because its reply was lost, it adds what is missing.
-- KEYS lease, messages. ARGV token, lease in ms, seconds to keep the messages, '1' at the end, how many messages were sent
-- before, then messages. Returns 1, or 0 when the lease is lost, or messages that followers must have read first.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local there = redis.call('XLEN', KEYS[2]) - tonumber(ARGV[5])
if there < 0 then return 0 end
for i = 6 + there, #ARGV do redis.call('XADD', KEYS[2], '*', 'm', ARGV[i]) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
if ARGV[4] == '1' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
