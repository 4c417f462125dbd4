-- The decisions of store.Guess on the buckets KEYS, which share a slot; the two must decide alike. It takes a place in each of
-- them, or in none.
-- ARGV: time, then of each bucket how many it takes, its window and its lock (0: until
-- the window ends), in seconds.
-- It returns 0 and the ends of the windows, or the number of the first bucket that is full and for how many seconds it is.
local BUCKET = '>I4I5I5' -- taken, ends, locked until

local buckets, reply = {}, { 0 }
for i, key in ipairs(KEYS) do
  local taken, ends, locked = 0, 0, 0
  local packed = redis.call('GET', key)
  if packed then
    taken, ends, locked = struct.unpack(BUCKET, packed)
  end
  if locked > now then
    return { i, locked - now }
  end
  buckets[i] = { taken = taken, ends = ends, over = locked > 0 or ends <= now }
end
for i, key in ipairs(KEYS) do
  local b, most, window, lock = buckets[i], tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  if b.over then
    b.taken, b.ends = 0, now + window
  end
  b.taken = b.taken + 1
  local locked = 0
  if b.taken >= most then
    locked = lock > 0 and now + lock or b.ends
  end
  local till = (math.max(b.ends, locked) + 1) * 1000 - math.floor(offset / 1000)
  redis.call('SET', key, struct.pack(BUCKET, b.taken, b.ends, locked), 'PXAT', string.format('%.0f', till))
  reply[i + 1] = b.ends
end
return reply
