-- requires: delete_entry, is_current

-- A page of a sweep: what each listed entry is, and unless the run is dry, those that hold no more are deleted.
-- KEYS registry, scores, counters, warm, then for each: entry, partition. ARGV '1' for a dry run, then for each: member, id.
-- Returns for each one of 'fresh', 'stale', 'expired', 'replaced', 'orphaned', 'changed'.
local registry, scores, counters, warm, dry = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1] == '1'
local head = redis.call('HMGET', registry, 'epoch', 'fresh_from')
local found = {}
for i = 5, #KEYS, 2 do
  local entry, partition = KEYS[i], KEYS[i + 1]
  local member, id = ARGV[i - 3], ARGV[i - 2]
  local held = redis.call('HMGET', entry, 'member', 'incarnation', 'documents', 'revision')
  local verdict = 'fresh'
  if held[1] ~= member then
    -- It expired, or another answer to the question took its place and is listed for itself.
    verdict = held[1] and 'replaced' or 'expired'
    if not dry then
      unlist(scores, counters, member)
      if verdict == 'expired' then
        redis.call('HINCRBY', counters, 'invalidated:expired', 1)
        forget_expired(partition, id)
      end
    end
  elseif held[2] ~= redis.call('HGET', partition, 'incarnation') then
    verdict = 'orphaned'
    if not dry then delete_entry(entry, partition, scores, counters, false, id, verdict) end
  elseif not is_current(registry, held[3]) then
    verdict = 'changed'
    if not dry then delete_entry(entry, partition, scores, counters, warm, id, verdict) end
  elseif not head[1] or tonumber(held[4]) < tonumber(head[2] or 0) then
    verdict = 'stale'
  end
  found[#found + 1] = verdict
end
return found
