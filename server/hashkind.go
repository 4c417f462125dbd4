package server

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/glueauth/glueauth/config/secret"
)

const weakCost = 10 // of bcrypt: below it, a stolen hash is guessed too fast

// HashKind is how some customers' passwords are stored.
type HashKind struct {
	Name  string // like "bcrypt, cost 12"; empty for hashes that cannot be verified
	Cost  int    // of bcrypt, else 0
	Weak  bool   // bcrypt of a cost below 10
	Count int    // customers
	like  secret.Text
}

// HashKinds counts the kinds of stored hashes, the most frequent first. Nothing of a hash but its kind is in the result.
func HashKinds(hashes []secret.Text) []HashKind {
	var kinds []HashKind
	for _, hash := range hashes {
		kind := kindOf(hash)
		i := slices.IndexFunc(kinds, func(k HashKind) bool { return k.Name == kind.Name })
		if i < 0 {
			i, kinds = len(kinds), append(kinds, kind)
		}
		kinds[i].Count++
	}
	slices.SortFunc(kinds, func(a, b HashKind) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name))
	})
	return kinds
}

func kindOf(hash secret.Text) HashKind {
	if !verifiable(hash) {
		return HashKind{}
	}
	text := hash.Reveal()
	kind := HashKind{like: secret.Text(dummyLike(text))}
	if h, ok := parseArgon2(text); ok {
		kind.Name = fmt.Sprintf("%s, m=%d, t=%d, p=%d", h.variant, h.memory, h.rounds, h.threads)
		return kind
	}
	kind.Cost, _ = bcrypt.Cost([]byte(text)) // verifiable has read it
	kind.Name, kind.Weak = fmt.Sprintf("bcrypt, cost %d", kind.Cost), kind.Cost < weakCost
	return kind
}

// Work does what a sign-in of such a customer costs: it verifies a password that is wrong.
func (k HashKind) Work() {
	if k.like != "" {
		matches(k.like, "a password")
	}
}
