-- The index of a tenant's documents: `names` (a sorted set of keys), one such set for each state, `counts` (how many have
-- each label) and `changes` (a stream of the keys of records as they are written). A label is a state, then the groups,
-- separated by \31; a document's stands in the registry's field `l:<key>`. `records` counts the documents that are indexed: an
-- index that has another number of names is none, and is made anew.
local STATE_PLACES = {queued = 1, parsing = 2, embedding = 3, ready = 4, failed = 5}

local function state_of(label) return string.match(label, '^[^\31]*') end

local function count_label(counts, label, by)
  if redis.call('HINCRBY', counts, label, by) <= 0 then redis.call('HDEL', counts, label) end
end

-- `index` has the keys names, counts, changes, then those of the states. A label of '' is that of a document that is gone.
local function index_document(registry, index, document, label)
  redis.call('XADD', index[3], 'MAXLEN', '~', 10000, '*', 'k', document)
  if redis.call('HEXISTS', registry, 'records') == 0 then return end
  local old = redis.call('HGET', registry, 'l:' .. document) or ''
  if old ~= '' then
    count_label(index[2], old, -1)
    redis.call('ZREM', index[3 + STATE_PLACES[state_of(old)]], document)
  end
  if label == '' then
    if old ~= '' then redis.call('HINCRBY', registry, 'records', -1) end
    redis.call('ZREM', index[1], document)
    redis.call('HDEL', registry, 'l:' .. document)
    return
  end
  if old == '' then redis.call('HINCRBY', registry, 'records', 1) end
  redis.call('HSET', registry, 'l:' .. document, label)
  count_label(index[2], label, 1)
  redis.call('ZADD', index[1], 0, document)
  redis.call('ZADD', index[3 + STATE_PLACES[state_of(label)]], 0, document)
end
