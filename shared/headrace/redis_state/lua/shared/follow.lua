-- Mark a flight's lease as followed. Returns 1, or 0 when nobody leads.
local function follow(lease)
  local held = redis.call('GET', lease)
  if not held then return 0 end
  if string.sub(held, -1) ~= '+' then redis.call('SET', lease, held .. '+', 'KEEPTTL') end
  return 1
end
