-- It writes down what has ended. KEYS[1] is the list, the fields by the second they were written in; KEYS[2] has their values.
-- ARGV: offset, and then of each: field, epoch (empty: a session that has ended once and for all), seconds of the subject's "not before"
-- (0: now and the allowance for clocks, -1: none).
-- A field is kind and id of the subject (9 bytes), and of a session the name (25 bytes), behind a plus where it is spared. A
-- value is: written, not before, epoch.
local ALLOWANCE = 2 -- as store.ClockAllowance
local KEPT = 367 * 86400 -- longer than any access token lives
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2] + tonumber(ARGV[1])) / 1000000)
-- A write that takes no memory, so that a store without any takes the few bytes that follow: it must be able to end sessions.
redis.call('ZREM', KEYS[1], '')
for i = 2, #ARGV, 3 do
  local field, epoch, from = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local have = redis.call('HGET', KEYS[2], field)
  if not have or epoch ~= '' then
    if from == 0 then
      from = now + ALLOWANCE
    end
    if from > 0 and have then
      local _, before = struct.unpack('>I5I5', have)
      from = math.max(from, before)
    end
    redis.call('HSET', KEYS[2], field, struct.pack('>I5I5', now, math.max(from, 0)) .. epoch)
    redis.call('ZADD', KEYS[1], now, field)
  end
end
redis.call('EXPIRE', KEYS[1], KEPT)
redis.call('EXPIRE', KEYS[2], KEPT)
return 1
