-- The decision of store.Session.End; the two must decide alike.
-- ARGV: time, name, cause, client (empty: any), from. It returns 1 when it ended the session, and 2 when that has ended just now
-- or not long ago.
local name, cause, client, address = ARGV[2], ARGV[3], ARGV[4], string.sub(ARGV[5], 1, 16)
local record = redis.call('GET', KEYS[2])
if not record then
  return 0
end
local s = decode(record)
if s.expires <= now or client ~= '' and client ~= s.client then
  return 0
end
local known = subject()
if s.ended ~= 0 or not known or known.epoch ~= s.epoch then
  -- A write of this connection, so that a WAIT covers the ending too if an earlier call made it unconfirmed.
  redis.call('PEXPIREAT', KEYS[2], kept(s))
  return s.ended ~= 0 and renoted(s.ended) and 2 or 0
end
happened(s, ENDED, 0, address)
if redis.call('HEXISTS', KEYS[1], name) == 0 then
  -- The cap has ended it; only the record does not say so yet.
  return finish(name, s, 'too_many_sessions') or 2
end
local failed = finish(name, s, cause)
if failed then
  return failed
end
void_shop(known, cause)
return 1
