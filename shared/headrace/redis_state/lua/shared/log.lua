-- A partition's log of changes. Change number n stands in the field `e:<n>`: its checksum, then `+` and a packed row, or
-- `-` and the id of an entry that left. A checksum is computed from the change and the checksum before it, so that a
-- server which lost its last writes, and gives their numbers away again, is noticed by its checksums.

local function change_field(number) return 'e:' .. string.format('%.0f', tonumber(number)) end

-- Twelve characters: headrace.redis_state.layout.CHECKSUM_CHARACTERS.
local function checksum_of(change) return string.sub(change or '', 1, 12) end

local function log_change(partition, change)
  local seq = redis.call('HINCRBY', partition, 'seq', 1)
  local checksum = checksum_of(redis.sha1hex((redis.call('HGET', partition, 'checksum') or '') .. change))
  redis.call('HSET', partition, 'checksum', checksum, change_field(seq), checksum .. change)
end
