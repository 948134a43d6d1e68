-- requires: index_document
-- Make the index of a tenant's documents anew, of its records. KEYS registry, then those of `index_document`. Returns how many.
local index = {unpack(KEYS, 2)}
for place, key in ipairs(index) do
  if place ~= 3 then redis.call('DEL', key) end
end
redis.call('HSET', KEYS[1], 'records', 0)
local cursor, seen = '0', {}
repeat
  local page = redis.call('HSCAN', KEYS[1], cursor, 'MATCH', 'r:*', 'COUNT', 1000)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    local document = string.sub(page[2][i], 3)
    if not seen[document] then
      seen[document] = true
      local record = cjson.decode(page[2][i + 1])
      local label = table.concat({record['state'], unpack(record['groups'] or {})}, '\31')
      redis.call('HINCRBY', KEYS[1], 'records', 1)
      redis.call('HSET', KEYS[1], 'l:' .. document, label)
      count_label(index[2], label, 1)
      redis.call('ZADD', index[1], 0, document)
      redis.call('ZADD', index[3 + STATE_PLACES[record['state']]], 0, document)
    end
  end
until cursor == '0'
return tonumber(redis.call('HGET', KEYS[1], 'records'))
