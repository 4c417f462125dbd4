package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
)

const (
	sampledHashes = 1000
	dummyBcrypt   = "$2y$12$" // before the first sample
	// What follows form and cost in a dummy: zero salt and zero digest, which no password has, in the shape that costs
	// full work.
	bcryptTail = "....................................................."
	argonTail  = "$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

// dummies gives unknown names a hash to be verified against, so that they take the time of known ones. Its cost is
// picked for the name, by a keyed hash, out of the costs that customers really have, the newest and others: the hash is a quantile of
// the sorted costs. So a name keeps its cost while customers come and go, but for the few at a border between two costs, and
// all names together cost what customers cost.
type dummies struct {
	key    []byte
	sample atomic.Pointer[[]string] // forms with their costs, one for each sampled customer
}

func newDummies(master *keys.Master) (*dummies, error) {
	key, err := master.Derive("dummy-cost", markKeyNumber, derivedKeyBytes)
	if err != nil {
		return nil, err
	}
	d := &dummies{key: key}
	d.sample.Store(&[]string{dummyBcrypt + bcryptTail})
	return d, nil
}

// refresh reads the costs of customers.
func (d *dummies) refresh(ctx context.Context, source Customers) error {
	hashes, err := source.SampleHashes(ctx, sampledHashes)
	if err != nil {
		return fmt.Errorf("sample password costs: %w", err)
	}
	var forms []string
	for _, h := range hashes {
		if verifiable(h) {
			forms = append(forms, dummyLike(h.Reveal()))
		}
	}
	if len(forms) > 0 {
		slices.Sort(forms)
		d.sample.Store(&forms)
	}
	return nil
}

// pick returns the hash of a name that nobody has, by its e-mail key: of spellings by which a customer is found all cost the same, of
// others each has a cost of its own, and so it must be where there is no customer.
func (d *dummies) pick(emailKey string) secret.Text {
	forms := *d.sample.Load()
	quantile := binary.BigEndian.Uint64(keyed(d.key, []byte(emailKey)))
	at, _ := bits.Mul64(quantile, uint64(len(forms)))
	return secret.Text(forms[at])
}

// dummyLike returns a hash of the same form and cost as a verifiable one, that no password matches.
func dummyLike(hash string) string {
	if strings.HasPrefix(hash, "$argon2") {
		return strings.Join(strings.Split(hash, "$")[:4], "$") + argonTail
	}
	return hash[:len(dummyBcrypt)] + bcryptTail
}
