-- ARGV: time, fresh epoch, cause, from. KEYS[2] is not used. It returns when that was, in microseconds.
end_all(subject(), ARGV[2], ARGV[3], string.sub(ARGV[4], 1, 16))
return micros
