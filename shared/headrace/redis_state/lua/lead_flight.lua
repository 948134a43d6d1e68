-- Take the lead of a flight, if nobody has it. Sent twice, because its reply was lost, it leads once.
-- KEYS lease, messages. ARGV token, lease in ms. Returns 1, or 0 when another process leads.
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('DEL', KEYS[2])
  return 1
end
return 0
