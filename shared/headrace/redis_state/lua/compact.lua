-- requires: log

-- Blocks of rows take the place of the changes that they contain.
-- KEYS partition. ARGV incarnation, packed so far, last change that the blocks contain, its checksum, number of blocks so
-- far, then blocks. Returns 1, or 0 when another process has packed meanwhile, or the log is not the one that was read.
local index = redis.call('HMGET', KEYS[1], 'incarnation', 'packed', 'seq')
if index[1] ~= ARGV[1] or index[2] ~= ARGV[2] or tonumber(index[3]) < tonumber(ARGV[3]) then return 0 end
if checksum_of(redis.call('HGET', KEYS[1], change_field(ARGV[3]))) ~= ARGV[4] then return 0 end
for number = 0, tonumber(ARGV[5]) - 1 do redis.call('HDEL', KEYS[1], 'b:' .. number) end
for number = tonumber(ARGV[2]) + 1, tonumber(ARGV[3]) do redis.call('HDEL', KEYS[1], change_field(number)) end
for i = 6, #ARGV do redis.call('HSET', KEYS[1], 'b:' .. (i - 6), ARGV[i]) end
redis.call('HSET', KEYS[1], 'packed', ARGV[3], 'packed_checksum', ARGV[4])
return 1
