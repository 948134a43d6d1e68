-- requires: next_number

-- The registry is not whole: nothing is served from it until an epoch is opened. KEYS registry.
redis.call('HDEL', KEYS[1], 'epoch')
redis.call('HSET', KEYS[1], 'fresh_from', next_number(KEYS[1], 'revision'))
return 1
