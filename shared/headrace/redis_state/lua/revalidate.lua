-- requires: count_hit, is_current

-- A new search found what the entry was made from: nothing that came up to this revision would have been retrieved.
-- KEYS registry, entry, scores, counters. ARGV version, revision. Returns 1, and counts a hit, or 0 when the entry is gone,
-- another one, or made from documents that have changed since the search.
local registry, entry, scores, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local held = redis.call('HMGET', entry, 'version', 'revision', 'tokens', 'documents')
if held[1] ~= ARGV[1] or not is_current(registry, held[4]) then return 0 end
if tonumber(ARGV[2]) > tonumber(held[2]) then redis.call('HSET', entry, 'revision', ARGV[2]) end
count_hit(entry, scores, counters, 'exact', held[3])
return 1
