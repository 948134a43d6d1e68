-- A page of a tenant's documents, by key. KEYS registry, names, the set to read (names, or a state's), counts. ARGV prefix,
-- after ('' for the beginning), limit. Returns the keys, their records, labels with their counts, and how many the set has; or
-- 0 when there is no index, or a part of it was lost.
local records = redis.call('HGET', KEYS[1], 'records')
if not records or tonumber(records) ~= redis.call('ZCARD', KEYS[2]) then return 0 end
local from = ARGV[1] == '' and '-' or '[' .. ARGV[1]
if ARGV[2] ~= '' and ARGV[2] >= ARGV[1] then from = '(' .. ARGV[2] end
local to = ARGV[1] == '' and '+' or '(' .. ARGV[1] .. '\255'
local keys = redis.call('ZRANGEBYLEX', KEYS[3], from, to, 'LIMIT', 0, ARGV[3])
local fields = {}
for i, key in ipairs(keys) do fields[i] = 'r:' .. key end
local found = #fields > 0 and redis.call('HMGET', KEYS[1], unpack(fields)) or {}
return {keys, found, redis.call('HGETALL', KEYS[4]), redis.call('ZCARD', KEYS[3])}
