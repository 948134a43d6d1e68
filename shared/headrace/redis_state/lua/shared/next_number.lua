-- next_number(registry, field): microseconds since the epoch, or one more than the last: numbers rise even when the
-- registry was lost in between.
local function next_number(registry, field)
  local now = redis.call('TIME')
  local number = math.max(now[1] * 1000000 + now[2], tonumber(redis.call('HGET', registry, field) or 0) + 1)
  redis.call('HSET', registry, field, string.format('%.0f', number))
  return string.format('%.0f', number)
end
