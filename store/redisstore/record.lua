-- What every operation begins with. KEYS[1] is the customer's record, KEYS[2] the session's, both in one slot.

-- GRACE is for how many seconds a record outlives its expiry, and an expired session stays in the index.
local GRACE = 86400 -- as store.Remembered
local FLOOR_LIFE = 31 * 86400 -- as store.FloorLife
local USES = 16 -- as store.RememberedUses
local ENTRIES = 12 -- as store.TimelineLength

local clock = math.min(math.max(now, 1), 4294967295) -- as it stands in uses and in the timeline

-- deadline is when a key whose record expires at that second is to be deleted, in Unix milliseconds.
local function deadline(expires)
  return string.format('%.0f', (expires + GRACE) * 1000 - math.floor(offset / 1000))
end

-- A session is one packed string; the names and the meaning of its fields are those of store.Session. A visitor is 16 bytes
-- of address, IPv4 as mapped and zero for none, and the user agent. Version 1 ends after the scopes; version 3 is of a session that was
-- taken over from a shop: at its end it has the expiry of the shop's token, and whether the shop's sub is kept (0/1).
local SESSION = '>Bc8c8c16I4I4I4I5I5I5I5I5I2c0Bc0Bc0Bc0I2c0'
local SINCE2 = '>I4I5I5Bc0Bc0I2c0'
local SINCE3 = '>I5B'
local NOWHERE = string.rep('\0', 16)

local function encode(s)
  local uses = string.gsub(s.uses, '%z+$', '')
  return struct.pack(SESSION, s.shop > 0 and 3 or 2, s.epoch, s.password, s.device, s.base, s.cur, s.replays,
    s.started, s.rotated, s.expires, s.ends, s.ended,
    #s.client, s.client, #s.cause, s.cause, #s.retry, s.retry, #uses, uses, #s.scopes, s.scopes)
    .. struct.pack(SINCE2, s.shut, s.base_expires, s.rejoined, #s.first, s.first, #s.last, s.last, #s.timeline, s.timeline)
    .. (s.shop > 0 and struct.pack(SINCE3, s.shop, s.said) or '')
end

local function decode(record)
  local version = string.byte(record)
  if version < 1 or version > 3 then
    error('a session record of another version')
  end
  local s, _, rest = { shop = 0, said = 0, shut = 0, base_expires = 0, rejoined = 0, first = NOWHERE, last = NOWHERE, timeline = '' }
  _, s.epoch, s.password, s.device, s.base, s.cur, s.replays, s.started, s.rotated, s.expires, s.ends, s.ended,
    s.client, s.cause, s.retry, s.uses, s.scopes, rest = struct.unpack(SESSION, record)
  if version > 1 then
    s.shut, s.base_expires, s.rejoined, s.first, s.last, s.timeline, rest = struct.unpack(SINCE2, record, rest)
  end
  if version > 2 then
    s.shop, s.said = struct.unpack(SINCE3, record, rest)
  end
  s.uses = s.uses .. string.rep('\0', 4 * USES - #s.uses)
  return s
end

-- SUB is the key of the shop's sub: eight bytes of mark and the text. It is not among KEYS, since a slot that is being moved
-- refuses a call of which a key is missing. So it is looked at only where it is there, before anything is written.
local SUB = KEYS[2] .. ':sub'

-- kept is store.Session.Until as a deadline.
local function kept(s)
  return deadline(math.max(s.expires, s.shop))
end

local function save(s)
  return redis.call('SET', KEYS[2], encode(s), 'PXAT', kept(s))
end

-- The timeline is a row of entries of 27 bytes each: what, how many times, when, generation, address.
local ENTRY, ENTRY_SIZE = '>BI2I4I4c16', 27
local ROTATED, HEALED, REPLAYED, DISPLACED, REUSED, SIGNED_OTHERS, ENDED = 1, 2, 3, 4, 5, 6, 7 -- as store.Happening

local function happened(s, what, generation, address)
  local newest, count = #s.timeline - ENTRY_SIZE, 1
  if newest >= 0 then
    local w, n, _, g, a = struct.unpack(ENTRY, s.timeline, newest + 1)
    if w == what and g == generation and a == address and n < 65535 then
      s.timeline, count = string.sub(s.timeline, 1, newest), n + 1
    end
  end
  s.timeline = string.sub(s.timeline .. struct.pack(ENTRY, what, count, clock, generation, address), -ENTRIES * ENTRY_SIZE)
end

-- The customer's record is a hash: e holds the epoch and the record's expiry, f the floor once there is one, l the shop floor, x the names of
-- the sessions that ended last, a and b the addresses that he uses, and each session in use stands under its name with what the cap needs to know. A session
-- that is not there was ended by the cap.
local INDEX = '>I5I5I5' -- rotated, started, expires

-- stored is the customer's record whether or not it has expired.
local function stored()
  local have = redis.call('HMGET', KEYS[1], 'e', 'f', 'l')
  if not have[1] then
    return nil
  end
  local r, rest = { floor = 0, from = NOWHERE, cause = '' }
  r.epoch, r.expires = struct.unpack('>c8I5', have[1])
  if have[2] then
    r.floor, r.from, rest = struct.unpack('>I5c16', have[2])
    r.cause = string.sub(have[2], rest)
  end
  r.shop_floor = have[3] and struct.unpack('>I5', have[3]) or 0
  return r
end

local function subject()
  local r = stored()
  return r and r.expires > now and r or nil
end

local function save_subject(r)
  redis.call('HSET', KEYS[1], 'e', struct.pack('>c8I5', r.epoch, r.expires))
  if r.floor > 0 then
    redis.call('HSET', KEYS[1], 'f', struct.pack('>I5c16', r.floor, r.from) .. r.cause)
  end
  if (r.shop_floor or 0) > 0 then
    redis.call('HSET', KEYS[1], 'l', struct.pack('>I5', r.shop_floor))
  end
  redis.call('PEXPIREAT', KEYS[1], deadline(r.expires))
end

-- renoted reports whether a session that ended then is to be written down again, as store.renoted.
local function renoted(ended)
  return now - ended <= 3600
end

-- spares returns the epoch by which a session that begins now is spared where all ended a moment ago, else an empty text; as
-- store.SubjectRecord.Spares.
local function spares(r)
  return r and r.floor > 0 and now <= r.floor + 4 and r.epoch or ''
end

-- void_shop raises the shop floor, where a session ended for a cause that lies with the customer.
local function void_shop(r, cause)
  if cause == 'password_changed' or cause == 'customer_blocked' or cause == 'customer_gone' then
    r.shop_floor, r.expires = now, math.max(r.expires, now + FLOOR_LIFE)
    save_subject(r)
  end
end

-- restart writes a customer's record with another epoch and an empty index, at the same cost however long that was: what it
-- held is freed in the background. The first write is one for which a store without memory refuses the call as a whole.
local function restart(r)
  local kept = { x = redis.call('HGET', KEYS[1], 'x'), a = redis.call('HGET', KEYS[1], 'a'), b = redis.call('HGET', KEYS[1], 'b') }
  save_subject(r)
  redis.call('UNLINK', KEYS[1])
  save_subject(r)
  for field, value in pairs(kept) do
    if value then
      redis.call('HSET', KEYS[1], field, value)
    end
  end
end

-- end_all is store.SubjectRecord.EndAll. It returns the new record.
local function end_all(known, epoch, cause, address)
  local r = { epoch = epoch, floor = now, from = address, cause = cause, shop_floor = known and known.shop_floor }
  r.expires = math.max(known and known.expires or 0, now + FLOOR_LIFE)
  restart(r)
  return r
end

-- enter writes a living session into the customer's record and has the record last as long. It comes after save, so that
-- a store without memory has already refused the call as a whole.
local function enter(name, s, expires)
  expires = math.max(expires, s.expires)
  redis.call('HSET', KEYS[1], 'e', struct.pack('>c8I5', s.epoch, expires),
    name, struct.pack(INDEX, s.rotated, s.started, s.expires))
  redis.call('PEXPIREAT', KEYS[1], deadline(expires))
end

-- The addresses that a customer uses, as store.KnownAddresses: entries of a mark and a day, the newest first, in two fields,
-- for a hash that has a value of more than 64 bytes takes several times the memory.
local KNOWN, KNOWN_SIZE, KNOWN_COUNT, KNOWN_DAYS = '>c8I2', 10, 8, 30
local today = math.floor(clock / 86400)

-- greet notes an address, once a day. The customer has a record by now.
local function greet(mark)
  if mark == '' then
    return
  end
  local have = redis.call('HMGET', KEYS[1], 'a', 'b')
  have = (have[1] or '') .. (have[2] or '')
  local list = struct.pack(KNOWN, mark, today)
  for i = 1, #have, KNOWN_SIZE do
    local known, day = struct.unpack(KNOWN, have, i)
    if known == mark and day == today then
      return
    elseif known ~= mark and today - day <= KNOWN_DAYS then
      list = list .. string.sub(have, i, i + KNOWN_SIZE - 1)
    end
  end
  local half = KNOWN_SIZE * KNOWN_COUNT / 2
  redis.call('HSET', KEYS[1], 'a', string.sub(list, 1, half))
  if #list > half then
    redis.call('HSET', KEYS[1], 'b', string.sub(list, half + 1, 2 * half))
  else
    redis.call('HDEL', KEYS[1], 'b')
  end
end

-- remember notes in the customer's record that a session has ended, for those who ask why. It never makes a record.
local LATEST, LATEST_SIZE, LATEST_COUNT = '>I5c16', 21, 8

local function remember(name, ended)
  if redis.call('EXISTS', KEYS[1]) == 0 then
    return
  end
  local x, list, entry = redis.call('HGET', KEYS[1], 'x') or '', '', struct.pack(LATEST, ended, name)
  for i = 1, #x, LATEST_SIZE do
    local at, other = struct.unpack(LATEST, x, i)
    if other ~= name then
      if at <= ended then
        list, entry = list .. entry, ''
      end
      list = list .. string.sub(x, i, i + LATEST_SIZE - 1)
    end
  end
  redis.call('HSET', KEYS[1], 'x', string.sub(list .. entry, 1, LATEST_COUNT * LATEST_SIZE))
end

-- finish ends a living session; the caller has added to its timeline. A store without memory for the ended record loses the
-- record, which is as good: absence means invalid. It returns the error of a store that can do neither, and of one without
-- memory where the shop's token is good still, since absence would have that token taken over once more.
local function finish(name, s, cause)
  local said = s.said
  s.ended, s.cause, s.said = now, cause, 0
  local saved = redis.pcall('SET', KEYS[2], encode(s), 'PXAT', kept(s))
  if not saved.err then
    remember(name, now)
  elseif string.find(saved.err, 'OOM ', 1, true) and s.shop <= now then
    redis.call('DEL', KEYS[2])
  else
    return saved
  end
  redis.call('HDEL', KEYS[1], name)
  if said == 1 then
    redis.pcall('DEL', SUB)
  end
end

-- make writes a session that there was not, and the record of its customer where there is none. It returns the names of the
-- sessions that are too many beside it. Their own records, whose keys the caller could not know, are left to calls of
-- end.lua; they are dead without.
local function make(name, s, known, most)
  local living, expired, forgotten, surplus = {}, {}, {}, {}
  local index = redis.call('HGETALL', KEYS[1])
  for i = 1, #index, 2 do
    if #index[i] == #name then
      local rotated, started, expires = struct.unpack(INDEX, index[i + 1])
      if expires + GRACE <= now then
        table.insert(forgotten, index[i])
      elseif not known then
        table.insert(expired, { name = index[i], at = math.min(expires, now) })
      elseif expires > now then
        table.insert(living, { name = index[i], rotated = rotated, started = started })
      end
    end
  end
  table.sort(living, function(a, b)
    if a.rotated ~= b.rotated then
      return a.rotated > b.rotated
    end
    return a.started > b.started
  end)
  save(s)
  if not known then -- what has expired must not come back with the new epoch
    restart({ epoch = s.epoch, expires = s.expires, floor = 0 })
  end
  enter(name, s, known and known.expires or 0)
  for i = math.max(most, 1), #living do
    remember(living[i].name, now)
    table.insert(forgotten, living[i].name)
    table.insert(surplus, living[i].name)
  end
  for _, e in ipairs(expired) do
    remember(e.name, e.at)
  end
  for _, gone in ipairs(forgotten) do
    redis.call('HDEL', KEYS[1], gone)
  end
  return surplus
end

