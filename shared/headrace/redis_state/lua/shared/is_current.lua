-- is_current(registry, documents): whether the registry says of each document what the answer was made from. `documents`
-- is a JSON list of keys and values in turn; a value is compared as it stands in `c:<key>`.
local function is_current(registry, documents)
  local pairs = cjson.decode(documents)
  if #pairs == 0 then return true end
  local fields = {}
  for i = 1, #pairs, 2 do fields[#fields + 1] = 'c:' .. pairs[i] end
  local shown = redis.call('HMGET', registry, unpack(fields))
  for i = 1, #shown do if shown[i] ~= pairs[2 * i] then return false end end
  return true
end
