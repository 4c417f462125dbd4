-- It returns the time and what was written down by note.lua since it was last asked: fields and values in turn. It changes nothing.
-- ARGV: time, the time it returned then (0: all).
local OVERLAP = 60 -- seconds that are read once more
-- After a failover the clock of the new master may be behind, by any length of time.
local since = math.min(tonumber(ARGV[2]), now) - OVERLAP
local fields, reply, STEP = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf'), { now }, 1000
for i = 1, #fields, STEP do
  local some = { unpack(fields, i, math.min(i + STEP - 1, #fields)) }
  for n, value in ipairs(redis.call('HMGET', KEYS[2], unpack(some))) do
    if value then
      table.insert(reply, some[n])
      table.insert(reply, value)
    end
  end
end
return reply
