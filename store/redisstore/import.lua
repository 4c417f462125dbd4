-- The decision of store.Exported.Merge, as it stands there; the two must decide alike.
-- ARGV: offset, name, client, scopes, epoch, password, base, cur, uses, retry, device, replays, started, rotated, expires,
-- ends, ended, cause, and of the subject's record at the source epoch (empty: there is none) and expiry.
-- It returns 'added', 'updated' or 'kept'.
local name = ARGV[2]
local function number(i)
  return tonumber(ARGV[i])
end
local s = {
  client = ARGV[3], scopes = ARGV[4], epoch = ARGV[5], password = ARGV[6], base = number(7), cur = number(8), uses = ARGV[9],
  retry = ARGV[10], device = ARGV[11], replays = number(12), started = number(13), rotated = number(14),
  expires = number(15), ends = number(16), ended = number(17), cause = ARGV[18],
}
local source = ARGV[19] ~= '' and { epoch = ARGV[19], expires = number(20) } or nil
if s.expires <= now then
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
  end
  return s.epoch == known.epoch or source.expires > known.expires
end

local write = not there or further(there)
local epoch, expires
if known then
  epoch, expires = known.epoch, known.expires
  if replaced() then
    epoch = source.epoch
  end
elseif write and source then -- never beside a session that stayed without: its record was lost
  epoch, expires = source.epoch, source.expires
end
if write then
  save(s)
end
if epoch then
  if write then
    expires = math.max(expires, s.expires)
  end
  if source and source.epoch == epoch then
    expires = math.max(expires, source.expires)
  end
  if not known or known.epoch ~= epoch then
    redis.call('DEL', KEYS[1]) -- what the index holds is dead
  end
  if not known or known.epoch ~= epoch or known.expires ~= expires then
    redis.call('HSET', KEYS[1], 'e', struct.pack('>c8I5', epoch, expires))
    redis.call('PEXPIREAT', KEYS[1], deadline(expires))
  end
end
if write and s.ended ~= 0 then
  redis.call('HDEL', KEYS[1], name)
elseif write and epoch == s.epoch then
  redis.call('HSET', KEYS[1], name, struct.pack(INDEX, s.rotated, s.started, s.expires))
end
return not write and 'kept' or there and 'updated' or 'added'
