-- requires: next_number

-- Make another embedding model the tenant's, if nothing has changed since it was filled.
-- KEYS registry. ARGV embedding model, expected revision, watermark in that model's collection. Returns 1, or 0 when the
-- revision is another one.
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'model', ARGV[1], 'watermark', ARGV[3])
redis.call('HSET', KEYS[1], 'fresh_from', next_number(KEYS[1], 'revision'))
return 1
