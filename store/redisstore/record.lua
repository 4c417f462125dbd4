-- What every operation begins with. KEYS[1] is the customer's record, KEYS[2] the session's, both in one slot.
-- ARGV[1] is what a test adds to the clock, in microseconds; it is 0 in production.

-- GRACE is for how many seconds a record outlives its expiry, so that a caller whose clock is behind is told "expired" and
-- not "lost", and FORGET for how many an expired session stays in the index, so that a clock set back finds it again.
local GRACE, FORGET = 60, 86400
local USES = 16 -- as store.RememberedUses

local offset = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2] + offset) / 1000000)
local clock = math.min(math.max(now, 1), 4294967295) -- as it stands in uses

-- deadline is when a key whose record expires at that second is to be deleted, in Unix milliseconds.
local function deadline(expires)
  return string.format('%.0f', (expires + GRACE) * 1000 - math.floor(offset / 1000))
end

-- A session is one packed string; the names and the meaning of its fields are those of store.Session.
local SESSION = '>Bc8c8c16I4I4I4I5I5I5I5I5I2c0Bc0Bc0Bc0I2c0'

local function encode(s)
  local uses = string.gsub(s.uses, '%z+$', '')
  return struct.pack(SESSION, 1, s.epoch, s.password, s.device, s.base, s.cur, s.replays,
    s.started, s.rotated, s.expires, s.ends, s.ended,
    #s.client, s.client, #s.cause, s.cause, #s.retry, s.retry, #uses, uses, #s.scopes, s.scopes)
end

local function decode(record)
  if string.byte(record) ~= 1 then
    error('a session record of another version')
  end
  local s, _ = {}
  _, s.epoch, s.password, s.device, s.base, s.cur, s.replays, s.started, s.rotated, s.expires, s.ends, s.ended,
    s.client, s.cause, s.retry, s.uses, s.scopes = struct.unpack(SESSION, record)
  s.uses = s.uses .. string.rep('\0', 4 * USES - #s.uses)
  return s
end

local function save(s)
  return redis.call('SET', KEYS[2], encode(s), 'PXAT', deadline(s.expires))
end

-- The customer's record is a hash: e holds the epoch and the record's expiry, and each session in use stands under its
-- name with what the cap needs to know. A session that is not there was ended by the cap.
local INDEX = '>I5I5I5' -- rotated, started, expires

local function subject()
  local e = redis.call('HGET', KEYS[1], 'e')
  if not e then
    return nil
  end
  local epoch, expires = struct.unpack('>c8I5', e)
  if expires <= now then
    return nil
  end
  return { epoch = epoch, expires = expires }
end

-- enter writes a living session into the customer's record and has the record last as long. It comes after save, so that
-- a store without memory has already refused the call as a whole.
local function enter(name, s, expires)
  expires = math.max(expires, s.expires)
  redis.call('HSET', KEYS[1], 'e', struct.pack('>c8I5', s.epoch, expires),
    name, struct.pack(INDEX, s.rotated, s.started, s.expires))
  redis.call('PEXPIREAT', KEYS[1], deadline(expires))
end

-- finish ends a living session. A store without memory for the ended record loses the record, which is as good: absence
-- means invalid. It returns the error of a store that can do neither.
local function finish(name, s, cause)
  s.ended, s.cause = now, cause
  local saved = redis.pcall('SET', KEYS[2], encode(s), 'PXAT', deadline(s.expires))
  if saved.err then
    if not string.find(saved.err, 'OOM ', 1, true) then
      return saved
    end
    redis.call('DEL', KEYS[2])
  end
  redis.call('HDEL', KEYS[1], name)
end
