package keys

import (
	"crypto"
	"strings"
)

// Signed lets foreign test vectors reach the check of signatures: by one key that is published as kid and signs by the
// algorithm, with the encoded header of a token, what was signed, and its signature.
func Signed(public crypto.PublicKey, algorithm, kid, header, input string, signature []byte) bool {
	a, err := algorithmNamed(algorithm)
	if err != nil {
		return false
	}
	v := view{published: []key{{kid: kid, public: public, method: a.method}}}
	return v.signed(header, input, signature)
}

// Parts lets them reach the decoding of a token's parts; nil is for a text that is not three of them.
func Parts(token string) [][]byte {
	var list [][]byte
	for part := range strings.SplitSeq(token, ".") {
		raw, ok := decodePart(part)
		if !ok {
			return nil
		}
		list = append(list, raw)
	}
	if len(list) != 3 {
		return nil
	}
	return list
}
