-- Let a request of a principal in, or say which limit it meets. One script, so that no two requests take the last place.
-- KEYS what the principal uses, its open requests.
-- ARGV requests a minute, most open, tokens a day (0: any), the day, a name for the request, ms until it counts no more.
-- Returns {'ok', remaining requests, ms until all are back}, {'requests', ms to wait}, {'streams'} or {'tokens'}.
local use, open = KEYS[1], KEYS[2]
local rate, most_open, most_tokens = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- The server's clock: those of the processes differ.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local held = redis.call('HMGET', use, 'due', 'day', 'tokens')
if most_tokens > 0 and held[2] == ARGV[4] and tonumber(held[3] or 0) >= most_tokens then
  return {'tokens'}
end

-- A process that died has not said that its requests ended.
redis.call('ZREMRANGEBYSCORE', open, '-inf', now)
if redis.call('ZCARD', open) >= most_open then
  return {'streams'}
end

-- The generic cell rate algorithm: a minute's requests may come at once, then one each interval.
if rate < 1 then
  return {'requests', 60000}
end
local interval = 60000 / rate
local ahead = math.max(tonumber(held[1] or 0) - now, 0)
if ahead + interval > 60000.001 then
  return {'requests', math.ceil(ahead + interval - 60000)}
end

redis.call('HSET', use, 'due', string.format('%.3f', now + ahead + interval))
-- The day's tokens are kept until the day is over.
redis.call('PEXPIRE', use, 90000000)
redis.call('ZADD', open, now + tonumber(ARGV[6]), ARGV[5])
redis.call('PEXPIRE', open, ARGV[6])
return {'ok', math.floor((60000.001 - ahead - interval) / interval), math.ceil(ahead + interval)}
