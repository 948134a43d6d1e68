-- Mark a flight's lease as followed. Returns its token where nobody followed before, '+' where somebody did, '' when nobody leads.
local function follow(lease)
  local held = redis.call('GET', lease)
  if not held then return '' end
  if string.sub(held, -1) == '+' then return '+' end
  redis.call('SET', lease, held .. '+', 'KEEPTTL')
  return held
end
