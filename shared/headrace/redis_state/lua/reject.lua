-- A judge's no: these entries are not candidates for this question again, as long as they have these versions.
-- KEYS rejected, counters. ARGV time in seconds, TTL in seconds, most rejections of a tenant, tokens of the verdict, then
-- `<partition>:<question>:<entry>:<version>` for each.
redis.call('HINCRBY', KEYS[2], 'judged', 1)
redis.call('HINCRBY', KEYS[2], 'judge_tokens', ARGV[4])
for i = 5, #ARGV do redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i]) end
-- The oldest ones make room.
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[3]) - 1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
