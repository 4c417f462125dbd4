-- ARGV: time, mark of an address. KEYS[2] is not used. It changes nothing.
-- It returns 1 when the customer has used the address in the last thirty days.
for _, list in ipairs(redis.call('HMGET', KEYS[1], 'a', 'b')) do
  for i = 1, list and #list or 0, KNOWN_SIZE do
    local known, day = struct.unpack(KNOWN, list, i)
    if known == ARGV[2] and today - day <= KNOWN_DAYS then
      return 1
    end
  end
end
return 0
