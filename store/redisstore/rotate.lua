-- The table of store.Session.Rotate, row by row as it stands there; the two must decide alike.
-- ARGV: time, name, generation, client, scopes asked for, scope given (0/1), narrow (0/1), password mark (empty: do not
-- compare), device, retry key digest (empty: none), lifetime, windows of replay, rejoin (-1: off), late retry and
-- concurrency, reuse keeps alive (0/1), from, sign out (empty, 'others' or 'all'), fresh epoch,
-- expiry of the presented token (0: not known), mark that a shop's sub must have, and as the last one the mark of the address (empty: none). Lengths of time are in seconds.
-- It returns the outcome, an empty cause, the generation to hand out, its expiry, the scopes, the shop's sub and the time in
-- microseconds, of which the floor of a sign-out is the second; or the outcome, the cause,
-- whether the session has ended (0/1, 2: long ago), and of a reuse the visitor who was answered last.
local MAX = 4294967294 -- as store.MaxGeneration

local name, g, client, asked = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local given, narrow = ARGV[6] == '1', ARGV[7] == '1'
local password, device, retry, lifetime = ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11])
local replay, rejoin = tonumber(ARGV[12]), tonumber(ARGV[13])
local late_retry, concurrency = tonumber(ARGV[14]), tonumber(ARGV[15])
local keeps_alive, from, sign_out, fresh = ARGV[16] == '1', ARGV[17], ARGV[18], ARGV[19]
local expires, mark = tonumber(ARGV[20]), ARGV[21]
local address = string.sub(from, 1, 16)

local record = redis.call('GET', KEYS[2])
if not record then
  return { 'refused', 'store_lost', 0, '' }
end
local s = decode(record)
local known = subject()
local said = s.said == 1 and redis.call('GET', SUB) or ''

local function slot(n)
  return n % USES * 4 + 1
end

local function use_of(n)
  return (struct.unpack('>I4', s.uses, slot(n)))
end

-- age returns how long ago generation n got its newest successor; a time that no window contains means never or forgotten.
local function age(n)
  if n > s.base or n == 0 and s.shop == 0 or s.base - n >= USES then
    return math.huge
  end
  local use = use_of(n)
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

-- again is row 6, of the base: soon after its use, or after it was last taken for a second copy.
local function again()
  return retry == s.retry and (age(s.base) <= replay or s.rejoined > 0 and now - s.rejoined <= replay)
end

-- late is the condition of row 8: the answer to the newest rotation was lost, and its asker comes again. A token of that
-- generation from before the store lost writes belongs to somebody else.
local function late(used)
  if expires > 0 and s.base_expires > 0 and expires ~= s.base_expires then
    return false
  end
  if s.retry ~= '' then
    return retry == s.retry or used <= replay
  end
  return used <= late_retry
end

-- astray: this record did not give out the presented token of the newest generation; see store.Session.
local function astray()
  return g == s.cur and g > 0 and expires > 0 and expires ~= s.expires
end

-- row is rows 4 to 10.
local function row()
  local used = age(g)
  if g <= s.shut and s.base == s.shut and retry == s.retry and used <= replay then
    return 'replayed'
  elseif s.shut > 0 and g <= s.shut then -- signed out with the rest
    return 'refused'
  elseif g == s.cur and not astray() then
    return 'rotated'
  elseif g > s.cur then
    return 'healed'
  elseif g == s.base and again() then
    return 'replayed'
  elseif g <= s.base and s.retry == '' and used <= rejoin and device == s.device then
    return 'replayed'
  elseif g == s.base and late(used) then
    return 'displaced'
  elseif g < s.base and used <= replay and age(s.base) <= concurrency then
    return 'replayed'
  elseif astray() and (now - s.rotated <= replay or s.retry == '' and now - s.rotated <= rejoin and device == s.device) then
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
  return s.base - g < USES and use_of(g) == 0
end

-- advance makes g the newest used generation.
local function advance(healed)
  local skipped = 0
  if healed then
    skipped = clock
    if s.base > 0 or s.shop > 0 then
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
  s.cur, s.device, s.retry, s.rotated, s.rejoined = successor, device, retry, now, 0
  s.expires = math.min(now + lifetime, s.ends)
end

-- sign_out_others leaves only this session, under the fresh epoch, and of its used generations only the presented one.
local function sign_out_others()
  local use = use_of(g)
  if s.shut ~= s.base then -- from now on the answer may be lost; a retry of this call does not count
    use = clock
  end
  if s.base > 0 then -- else only the shop's token is used, which cannot be shut
    s.uses = string.rep('\0', 4 * USES)
  end
  if g <= s.base then -- what is astray is not used, and its place is that of an older generation
    note_use(g, use)
  end
  s.retry, s.shut, s.epoch = retry, s.base, fresh
  happened(s, SIGNED_OTHERS, g, address)
end

local function refuse(cause)
  happened(s, ENDED, 0, address)
  local failed = finish(name, s, cause)
  if not failed then
    void_shop(known, cause)
  end
  return failed or { 'refused', cause, 1, '' }
end

-- reuse is row 10. The entry in the timeline says who, so there is none for the ending.
local function reuse()
  happened(s, REUSED, g, address)
  local reply = { 'reuse', 'reuse', 1, s.last }
  if keeps_alive and not displaced() then
    save(s)
    reply[3] = 0
    return reply
  end
  return finish(name, s, 'reuse') or reply
end

if s.ended == 0 and s.expires <= now then -- row 1: it only waits to be deleted
  return { 'refused', 'expired', 0, '' }
end
local cause = dead()
if cause then -- row 1
  if s.ended ~= 0 then
    return { 'refused', cause, renoted(s.ended) and 1 or 2, '' }
  end
  return refuse(cause)
end
if client ~= s.client then -- row 2
  return { 'other_client', '', 0, '' }
end
if given and not subset() then -- row 3
  return { 'scope_refused', '', 0, '' }
end
local outcome = row()
if outcome == 'refused' then
  return { 'refused', 'signed_out', 0, '' }
elseif outcome == 'reuse' then
  return reuse()
elseif sign_out == 'all' then
  end_all(known, fresh, 'signed_out', address) -- first, for it refuses the call where there is no memory
  happened(s, ENDED, 0, address)
  return finish(name, s, 'signed_out_all') or { outcome, '', 0, 0, '', '', micros }
elseif exhausted(outcome) then
  return refuse('exhausted')
end

if outcome == 'rotated' or outcome == 'healed' then
  advance(outcome == 'healed')
  s.base_expires = expires
  note(g + 1)
elseif outcome == 'displaced' then
  note_use(g, clock)
  note(s.cur + 1)
else
  s.replays = s.replays + 1
  if g == s.base and not again() then
    s.rejoined = now
  end
end
s.last = from
happened(s, ({ rotated = ROTATED, healed = HEALED, displaced = DISPLACED, replayed = REPLAYED })[outcome], g, address)
if given and narrow then
  s.scopes = asked
end
local said_before = s.said
if string.sub(said, 1, 8) ~= mark then -- it says something else of the customer than is true now
  s.said, said = 0, ''
end
if sign_out == 'others' then
  sign_out_others()
end
save(s)
if s.said == 1 then
  redis.call('PEXPIREAT', SUB, kept(s))
elseif said_before == 1 then
  redis.call('DEL', SUB)
end
if sign_out == 'others' then
  known = end_all(known, fresh, 'signed_out', address)
end
if outcome ~= 'replayed' or sign_out == 'others' then
  enter(name, s, known.expires)
end
if outcome ~= 'replayed' then
  greet(ARGV[#ARGV])
end
return { outcome, '', s.cur, s.expires, s.scopes, string.sub(said, 9), micros }
