-- requires: log_since

-- KEYS partition. ARGV the incarnation, number and checksum that the caller knows. Returns what log_since returns.
return log_since(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
