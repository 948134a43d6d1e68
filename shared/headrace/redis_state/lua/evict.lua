-- requires: delete_entry

-- Room is needed: the entry with the lowest score goes. The clock of scores advances to its score, so that an entry which
-- was asked for often long ago does not stay for ever.
-- Source: GreedyDual-Size-Frequency (Cherkasova, HPL-98-69, 1998).
-- KEYS scores, counters, entry, partition. ARGV member, id. Returns 1, or 0 when the member is not listed any more.
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return 0 end
redis.call('HSET', KEYS[2], 'clock', score)
if redis.call('HGET', KEYS[3], 'member') == ARGV[1] then
  return delete_entry(KEYS[3], KEYS[4], KEYS[1], KEYS[2], false, ARGV[2], 'evicted')
end
unlist(KEYS[1], KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 0 then forget_expired(KEYS[4], ARGV[2]) end
return 1
