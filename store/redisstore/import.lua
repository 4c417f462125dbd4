-- The decision of store.Snapshot.Merge, as it stands there; the two must decide alike.
-- ARGV: time, name, client, scopes, epoch, password, base, cur, uses, retry, device, replays, started, rotated, expires,
-- ends, ended, cause, shut, base expires, rejoined, first, last, timeline, expiry of the shop's token, mark and sub, and of the subject's record at the source epoch (empty: there is none),
-- expiry, floor, address and cause of the floor, and shop floor.
-- It returns 'added', 'updated' or 'kept'.
local name = ARGV[2]
local function number(i)
  return tonumber(ARGV[i])
end
local s = {
  client = ARGV[3], scopes = ARGV[4], epoch = ARGV[5], password = ARGV[6], base = number(7), cur = number(8), uses = ARGV[9],
  retry = ARGV[10], device = ARGV[11], replays = number(12), started = number(13), rotated = number(14),
  expires = number(15), ends = number(16), ended = number(17), cause = ARGV[18],
  shut = number(19), base_expires = number(20), rejoined = number(21), first = ARGV[22], last = ARGV[23], timeline = ARGV[24],
  shop = number(25), said = ARGV[26] ~= '' and 1 or 0,
}
local source = nil
if ARGV[27] ~= '' then
  source = { epoch = ARGV[27], expires = number(28), floor = number(29), from = ARGV[30], cause = ARGV[31], shop_floor = number(32) }
end
if math.max(s.expires, s.shop) <= now then
  return 'kept'
end
local known = subject()
local record = redis.call('GET', KEYS[2])
local there = record and decode(record)
if there and there.ended == 0 and known and known.epoch == there.epoch and redis.call('HEXISTS', KEYS[1], name) == 0 then
  there.ended = now -- the cap has ended it
end

local function further(o)
  if s.ended ~= 0 or o.ended ~= 0 then
    return o.ended == 0
  end
  for _, field in ipairs({ 'cur', 'base', 'rotated', 'replays' }) do
    if s[field] ~= o[field] then
      return s[field] > o[field]
    end
  end
  return false
end

-- replaced reports whether the subject's epoch at the source came after the one here.
local function replaced()
  if not source or source.epoch == known.epoch or there and there.epoch == source.epoch then
    return false
  elseif s.epoch == known.epoch then
    return true
  elseif source.floor ~= known.floor then
    return source.floor > known.floor
  end
  return source.expires > known.expires
end

local write = not there or further(there)
local from = known -- whose record goes on
if not known and write then -- never beside a session that stayed without: its record was lost
  from = source
end
local merged = nil
if from then
  merged = { epoch = from.epoch, expires = from.expires, floor = from.floor, from = from.from, cause = from.cause, shop_floor = from.shop_floor }
  if known and replaced() then
    merged.epoch = source.epoch
  end
  if write then
    merged.expires = math.max(merged.expires, s.expires)
  end
  if source and source.floor > merged.floor then
    merged.floor, merged.from, merged.cause = source.floor, source.from, source.cause
  end
  if source then
    merged.shop_floor = math.max(merged.shop_floor, source.shop_floor)
  end
  if source and source.epoch == merged.epoch then
    merged.expires = math.max(merged.expires, source.expires)
  end
end
if write then
  if s.said == 1 then
    redis.call('SET', SUB, ARGV[26], 'PXAT', kept(s))
  elseif there and there.said == 1 then
    redis.call('DEL', SUB)
  end
  save(s)
end
if merged and (not known or known.epoch ~= merged.epoch) then
  restart(merged) -- what the index holds is dead
elseif merged and (known.expires ~= merged.expires or known.floor ~= merged.floor
  or known.shop_floor ~= merged.shop_floor) then
  save_subject(merged)
end
if write and s.ended ~= 0 then
  remember(name, s.ended)
  redis.call('HDEL', KEYS[1], name)
elseif write and merged and merged.epoch == s.epoch then
  redis.call('HSET', KEYS[1], name, struct.pack(INDEX, s.rotated, s.started, s.expires))
end
return not write and 'kept' or there and 'updated' or 'added'
