-- It proves that scripts run here, that both keys share a slot, and that the server knows SET ... PXAT (Redis 6.2).
save({
  epoch = '12345678', password = '12345678', device = '1234567890123456', client = '', scopes = '', base = 0, cur = 0,
  replays = 0, uses = '', retry = '', ended = 0, cause = '', started = now, rotated = now, expires = now, ends = now,
  shop = 0, said = 0, shut = 0, base_expires = 0, rejoined = 0, first = NOWHERE, last = NOWHERE, timeline = '',
})
redis.call('SET', KEYS[1], '', 'PXAT', deadline(now))
decode(redis.call('GET', KEYS[2]))
return 1
