-- Add messages to a run's log, and say that it goes on. Sent twice, because its reply was lost, it adds what is missing.
-- KEYS lease, messages. ARGV how many messages are there, lease in ms, seconds to keep the messages, '1' at the end, then
-- messages. Returns 1 when somebody asked to stop, 0, or -1 when messages that readers must have read first are lost.
local asked = redis.call('GET', KEYS[1]) == 'stop'
local there = redis.call('XLEN', KEYS[2]) - tonumber(ARGV[1])
if there < 0 then return -1 end
for i = 5 + there, #ARGV do redis.call('XADD', KEYS[2], (ARGV[1] + i - 4) .. '-0', 'm', ARGV[i]) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
if ARGV[4] == '1' then
  redis.call('DEL', KEYS[1])
elseif asked then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
else
  redis.call('SET', KEYS[1], 'made', 'PX', ARGV[2])
end
return 0
