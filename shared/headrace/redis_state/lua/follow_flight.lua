-- requires: follow
-- Follow a flight, if somebody leads it. KEYS lease. Returns what `follow` returns.
return follow(KEYS[1])
