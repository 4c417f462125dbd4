package sqlstore

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxID   = 1<<31 - 1 // of the shop's column, INTEGER
	maxText = 255       // characters, of the shop's columns

	bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// invalid returns why a customer cannot be taken in, whoever else is there; empty for a good one.
func (n NewCustomer) invalid() string {
	if n.ID < 0 || n.ID > maxID {
		return fmt.Sprintf("%s must be a whole number from 1 to %d, as in the shop", columnID, maxID)
	}
	if reason := invalidText(columnReference, n.Reference); reason != "" {
		return reason
	}
	if reason := invalidText(columnEmail, n.Email); reason != "" {
		return reason
	}
	if !strings.Contains(n.Email, "@") {
		return columnEmail + " has no @: write an e-mail address"
	}
	return invalidHash(n.PasswordHash.Reveal())
}

func invalidText(column, text string) string {
	switch {
	case text == "":
		return column + " is empty: every customer needs one"
	case !utf8.ValidString(text):
		return column + " is not UTF-8: save the file as UTF-8"
	case utf8.RuneCountInString(text) > maxText:
		return fmt.Sprintf("%s is longer than %d characters, which the shop cannot have: shorten it", column, maxText)
	case strings.ContainsFunc(text, unicode.IsControl):
		return column + " holds a control character: remove it"
	default:
		return ""
	}
}

// invalidHash returns why no password could ever match a stored hash; empty for a good hash, and for none. It checks the
// form only, so that it never costs what a verification costs.
func invalidHash(hash string) string {
	const known = "bcrypt ($2a$, $2b$, $2y$), argon2i and argon2id are known"
	switch {
	case hash == "", isBcrypt(hash), isArgon2(hash):
		return ""
	case strings.HasPrefix(hash, "$"):
		return columnPassword + " is a broken hash or one of an unknown kind: " + known + ", or leave it empty"
	default:
		return columnPassword + " is not a hash: export the hashes of the shop (" + known + "), never plain passwords, or leave it empty"
	}
}

// isBcrypt reports whether hash has the form of bcrypt: version, cost 04 to 16 (more cannot be verified within a request), 53 digits.
func isBcrypt(hash string) bool {
	if len(hash) != 60 || hash[6] != '$' {
		return false
	}
	switch hash[:4] {
	case "$2a$", "$2b$", "$2y$":
	default:
		return false
	}
	return hash[4:6] >= "04" && hash[4:6] <= "16" && isNumber(hash[4:6], 16) && strings.Trim(hash[7:], bcryptAlphabet) == ""
}

// isArgon2 reports whether hash has PHP's form $argon2id$v=19$m=65536,t=4,p=1$SALT$DIGEST, within the limits that the
// verification has too: a gibibyte, 64 rounds, a digest of 16 to 128 bytes.
func isArgon2(hash string) bool {
	part := strings.Split(hash, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2i" && part[1] != "argon2id" || part[2] != "v=19" {
		return false
	}
	digest := decodedBytes(part[5])
	return isArgon2Cost(part[3]) && decodedBytes(part[4]) >= 8 && digest >= 16 && digest <= 128
}

func isArgon2Cost(text string) bool {
	cost := strings.Split(text, ",")
	return len(cost) == 3 &&
		strings.HasPrefix(cost[0], "m=") && isNumber(cost[0][2:], 1<<20) &&
		strings.HasPrefix(cost[1], "t=") && isNumber(cost[1][2:], 64) &&
		strings.HasPrefix(cost[2], "p=") && isNumber(cost[2][2:], 255)
}

// decodedBytes returns how many bytes an unpadded base64 text stands for, -1 when it is none.
func decodedBytes(text string) int {
	if strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return -1
	}
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return -1
	}
	return len(b)
}

// isNumber reports whether text is a decimal number from 1 to most.
func isNumber(text string, most uint64) bool {
	n, err := strconv.ParseUint(text, 10, 32)
	return err == nil && n >= 1 && n <= most
}
