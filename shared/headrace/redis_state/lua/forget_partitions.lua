-- Take partitions that do not exist any more off the registry's list. KEYS registry, then partitions. ARGV their names as
-- listed. Returns the list as it is then.
local listed = redis.call('HGET', KEYS[1], 'partitions') or ''
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    local from, to = string.find(listed, ARGV[i - 1] .. ' ', 1, true)
    if from then listed = string.sub(listed, 1, from - 1) .. string.sub(listed, to + 1) end
  end
end
redis.call('HSET', KEYS[1], 'partitions', listed)
return listed
