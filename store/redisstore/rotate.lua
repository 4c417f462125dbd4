-- The table of store.Session.Rotate, row by row as it stands there; the two must decide alike.
-- ARGV: offset, name, generation, client, scopes asked for, scope given (0/1), narrow (0/1), password mark (empty: do not
-- compare), device, retry key digest (empty: none), lifetime, windows of replay, rejoin (-1: off), late retry and
-- concurrency, reuse keeps alive (0/1). Lengths of time are in seconds.
-- It returns the outcome, the cause, the generation to hand out, its expiry and the scopes.
local MAX = 4294967294 -- as store.MaxGeneration

local name, g, client, asked = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local given, narrow = ARGV[6] == '1', ARGV[7] == '1'
local password, device, retry, lifetime = ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11])
local replay, rejoin = tonumber(ARGV[12]), tonumber(ARGV[13])
local late_retry, concurrency = tonumber(ARGV[14]), tonumber(ARGV[15])
local keeps_alive = ARGV[16] == '1'

local record = redis.call('GET', KEYS[2])
if not record then
  return { 'refused', 'store_lost' }
end
local s = decode(record)
local known = subject()

local function slot(n)
  return n % USES * 4 + 1
end

-- age returns how long ago generation n got its newest successor; a time that no window contains means never or forgotten.
local function age(n)
  if n > s.base or n == 0 or s.base - n >= USES then
    return math.huge
  end
  local use = struct.unpack('>I4', s.uses, slot(n))
  if use == 0 then
    return math.huge
  end
  return math.max(0, clock - use)
end

local function note_use(n, at)
  local i = slot(n)
  s.uses = string.sub(s.uses, 1, i - 1) .. struct.pack('>I4', at) .. string.sub(s.uses, i + 4)
end

-- dead is row 1: why the session may not be used at all.
local function dead()
  if s.ended ~= 0 then
    return s.cause
  elseif not known or known.epoch ~= s.epoch then
    return 'signed_out'
  elseif redis.call('HEXISTS', KEYS[1], name) == 0 then
    return 'too_many_sessions'
  elseif password ~= '' and password ~= s.password then
    return 'password_changed'
  end
end

local function subset()
  local have = {}
  for scope in string.gmatch(s.scopes, '%S+') do
    have[scope] = true
  end
  for scope in string.gmatch(asked, '%S+') do
    if not have[scope] then
      return false
    end
  end
  return true
end

-- late is the condition of row 8: the answer to the newest rotation was lost, and its asker comes again.
local function late(used)
  if s.retry ~= '' then
    return retry == s.retry or used <= replay
  end
  return used <= late_retry
end

-- row is rows 4 to 10.
local function row()
  local used = age(g)
  if g == s.cur then
    return 'rotated'
  elseif g > s.cur then
    return 'healed'
  elseif g == s.base and retry == s.retry and used <= replay then
    return 'replayed'
  elseif g <= s.base and s.retry == '' and used <= rejoin and device == s.device then
    return 'replayed'
  elseif g == s.base and late(used) then
    return 'displaced'
  elseif g < s.base and used <= replay and age(s.base) <= concurrency then
    return 'replayed'
  end
  return 'reuse'
end

local function exhausted(outcome)
  if outcome == 'displaced' then
    return s.cur >= MAX
  end
  return (outcome == 'rotated' or outcome == 'healed') and g >= MAX
end

-- displaced reports whether g was given out and then replaced unused.
local function displaced()
  if g > s.base then
    return g < s.cur
  end
  return s.base - g < USES and struct.unpack('>I4', s.uses, slot(g)) == 0
end

-- advance makes g the newest used generation.
local function advance(healed)
  local skipped = 0
  if healed then
    skipped = clock
    if s.base > 0 then
      note_use(s.base, skipped)
    end
  end
  for n = math.max(s.base + 1, g - math.min(g, USES)), g - 1 do
    note_use(n, skipped)
  end
  note_use(g, clock)
  s.base = g
end

-- note records the newest rotation.
local function note(successor)
  s.cur, s.device, s.retry, s.rotated = successor, device, retry, now
  s.expires = math.min(now + lifetime, s.ends)
end

local function refuse(outcome, cause)
  return finish(name, s, cause) or { outcome, cause }
end

if s.ended == 0 and s.expires <= now then -- row 1: it only waits to be deleted
  return { 'refused', 'expired' }
end
local cause = dead()
if cause then -- row 1
  if s.ended ~= 0 then
    return { 'refused', cause }
  end
  return refuse('refused', cause)
end
if client ~= s.client then -- row 2
  return { 'other_client', '' }
end
if given and not subset() then -- row 3
  return { 'scope_refused', '' }
end
local outcome = row()
if exhausted(outcome) then
  return refuse('refused', 'exhausted')
end
if outcome == 'reuse' then
  if keeps_alive and not displaced() then
    return { 'reuse', 'reuse' }
  end
  return refuse('reuse', 'reuse')
end
if outcome == 'rotated' or outcome == 'healed' then
  advance(outcome == 'healed')
  note(g + 1)
elseif outcome == 'displaced' then
  note_use(g, clock)
  note(s.cur + 1)
else
  s.replays = s.replays + 1
end
if given and narrow then
  s.scopes = asked
end
save(s)
if outcome ~= 'replayed' then
  enter(name, s, known.expires)
end
return { outcome, '', s.cur, s.expires, s.scopes }
