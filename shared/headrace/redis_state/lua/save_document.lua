-- requires: next_number, delete_entry, index_document

-- Write a document's record, and what searches may see of it. In the same step the cached answers leave that its new
-- chunks invalidate.
-- KEYS registry, scores, counters, warm, the eight keys of `index_document`, then for each invalidated answer: entry,
-- partition. ARGV document key, attempt, record ('' removes it), its label, what is current ('' for nothing), watermark,
-- embedding model, number of answers that the invalidation covers ('' when there is no invalidation), ids of invalidated
-- answers.
-- Returns 1; 0 when a newer attempt has begun; 2 when answers have come in that the invalidation does not cover; or the
-- model that the tenant is indexed with, when it is another one.
if redis.call('HGET', KEYS[1], 'a:' .. ARGV[1]) ~= ARGV[2] then
  -- A write whose reply was lost comes again, perhaps after a newer attempt has begun: it took effect.
  return ARGV[3] ~= '' and redis.call('HGET', KEYS[1], 'r:' .. ARGV[1]) == ARGV[3] and 1 or 0
end
local model = redis.call('HGET', KEYS[1], 'model')
if model ~= ARGV[7] then return model end
local old = redis.call('HGET', KEYS[1], 'c:' .. ARGV[1]) or ''
local comes = ARGV[5] ~= '' and old ~= ARGV[5]
-- Checked before anything is written: the caller plans again and comes back.
if comes and ARGV[8] ~= '' and (redis.call('HGET', KEYS[1], 'answers') or '0') ~= ARGV[8] then return 2 end
if ARGV[5] == '' then redis.call('HDEL', KEYS[1], 'c:' .. ARGV[1])
else redis.call('HSET', KEYS[1], 'c:' .. ARGV[1], ARGV[5]) end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], 'r:' .. ARGV[1], 'a:' .. ARGV[1])
else redis.call('HSET', KEYS[1], 'r:' .. ARGV[1], ARGV[3]) end
index_document(KEYS[1], {unpack(KEYS, 5, 12)}, ARGV[1], ARGV[3] == '' and '' or ARGV[4])
if tonumber(ARGV[6]) > tonumber(redis.call('HGET', KEYS[1], 'watermark') or 0) then
  redis.call('HSET', KEYS[1], 'watermark', ARGV[6])
end
if old == ARGV[5] then return 1 end
local revision = next_number(KEYS[1], 'revision')
-- Entries that were made from the old version are known by their documents. A new version might have been retrieved for
-- any question: without a plan, every entry made before this revision has to be revalidated.
if comes and ARGV[8] == '' then redis.call('HSET', KEYS[1], 'fresh_from', revision) end
for i = 9, #ARGV do
  local position = 13 + 2 * (i - 9)
  delete_entry(KEYS[position], KEYS[position + 1], KEYS[2], KEYS[3], KEYS[4], ARGV[i], 'superseded')
end
return 1
