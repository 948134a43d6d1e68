-- requires: log

-- log_since(partition, incarnation, seq, checksum): what changed after this position of the partition's log, as
-- {incarnation, last number, its checksum, changes}. Without changes when the partition has to be read anew: it is another
-- incarnation, the position lies before what was packed, or a failover has rewritten the log. {'', 0, ''}: there is none.
-- More than 500 changes are not sent: reading the partition anew is cheaper.
local function log_since(partition, known_incarnation, known_seq, known_checksum)
  local at = redis.call('HMGET', partition, 'incarnation', 'seq', 'checksum', 'packed', 'packed_checksum')
  if not at[1] then return {'', 0, ''} end
  local last, first, packed = tonumber(at[2]), tonumber(known_seq), tonumber(at[4])
  local anew = {at[1], last, at[3] or ''}
  if at[1] ~= known_incarnation or first > last or first < packed or last - first > 500 then return anew end
  local checksum = at[3]
  if first < last then
    -- The change at the position may be packed already; then its checksum was kept apart.
    checksum = first == packed and at[5] or checksum_of(redis.call('HGET', partition, change_field(first)))
  end
  if checksum ~= known_checksum then return anew end
  local fields = {}
  for number = first + 1, last do fields[#fields + 1] = change_field(number) end
  return {at[1], last, at[3], #fields > 0 and redis.call('HMGET', partition, unpack(fields)) or {}}
end
