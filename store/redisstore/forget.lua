-- It deletes what was written down by note.lua so many seconds ago, at most STEP entries, and returns how many those were.
-- ARGV: time, age.
local STEP = 1000
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]), 'LIMIT', 0, STEP)
if #old > 0 then
  redis.call('ZREM', KEYS[1], unpack(old))
  redis.call('HDEL', KEYS[2], unpack(old))
end
return #old == STEP and 1 or 0
