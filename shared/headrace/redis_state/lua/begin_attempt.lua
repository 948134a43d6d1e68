-- requires: next_number

-- Start an attempt at a document; every older one loses its right to write.
-- KEYS registry. ARGV document key, embedding model. Returns the attempt's number, or the model that the tenant is indexed
-- with, when it is another one.
redis.call('HSETNX', KEYS[1], 'model', ARGV[2])
local model = redis.call('HGET', KEYS[1], 'model')
if model ~= ARGV[2] then return model end
local attempt = next_number(KEYS[1], 'attempt')
redis.call('HSET', KEYS[1], 'a:' .. ARGV[1], attempt)
return tonumber(attempt)
