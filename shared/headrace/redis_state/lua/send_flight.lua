-- Send a leader's messages, and renew its lease. Sent twice, because its reply was lost, it adds what is missing.
-- KEYS lease, messages. ARGV token, lease in ms, seconds to keep the messages, '1' at the end or '?' at the end unless somebody
-- follows, how many messages were sent before, then messages. Returns 1, or 2 when somebody follows (at '?', nothing is done
-- then), or 0 when the lease is lost, or messages that followers must have read first.
local held = redis.call('GET', KEYS[1])
local is_followed = held == ARGV[1] .. '+'
if held ~= ARGV[1] and not is_followed then return 0 end
if ARGV[4] == '?' then
  if is_followed then return 2 end
  redis.call('DEL', KEYS[1])
  return 1
end
local there = redis.call('XLEN', KEYS[2]) - tonumber(ARGV[5])
if there < 0 then return 0 end
for i = 6 + there, #ARGV do redis.call('XADD', KEYS[2], '*', 'm', ARGV[i]) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
if ARGV[4] == '1' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return is_followed and 2 or 1
