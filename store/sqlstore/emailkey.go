package sqlstore

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// emailKey returns what two e-mail addresses have in common when they differ only in case: the address in upper case, as
// the shop compares with UPPER(). Letters are mapped one by one, so "ß" stays apart from "SS", and no letter beyond ASCII
// becomes an ASCII one: the dotless "ı" stays apart from "I", the long "ſ" from "S", as "İ" does from both. Nothing is
// trimmed and nothing is composed. An address that is not UTF-8 has itself as key; no customer can have it.
func emailKey(email string) string {
	if !utf8.ValidString(email) {
		return email
	}
	return strings.Map(func(r rune) rune {
		if upper := unicode.ToUpper(r); r < utf8.RuneSelf || upper >= utf8.RuneSelf {
			return upper
		}
		return r
	}, email)
}
