-- A request of a principal has ended: its place is free, and its answer's tokens are counted.
-- KEYS what the principal uses, its open requests. ARGV the request's name, tokens, the day.
local use, open = KEYS[1], KEYS[2]
redis.call('ZREM', open, ARGV[1])
if tonumber(ARGV[2]) > 0 then
  if redis.call('HGET', use, 'day') ~= ARGV[3] then
    redis.call('HSET', use, 'day', ARGV[3], 'tokens', 0)
  end
  redis.call('HINCRBY', use, 'tokens', ARGV[2])
  redis.call('PEXPIRE', use, 90000000)
end
return 1
