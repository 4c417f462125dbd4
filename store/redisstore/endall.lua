-- ARGV: offset, fresh epoch, cause, from. KEYS[2] is not used.
end_all(subject(), ARGV[2], ARGV[3], string.sub(ARGV[4], 1, 16))
return 1
