-- requires: delete_entry

-- Delete entries. KEYS scores, counters, warm, then for each: entry, partition. ARGV reason, '1' if their questions become
-- warm candidates, then the ids. Returns how many there were.
local gone = 0
for i = 4, #KEYS, 2 do
  local warm = ARGV[2] == '1' and KEYS[3]
  gone = gone + delete_entry(KEYS[i], KEYS[i + 1], KEYS[1], KEYS[2], warm, ARGV[3 + (i - 4) / 2], ARGV[1])
end
return gone
