package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Fingerprint is what replicas on one Redis must have in common. Nothing in it is a secret.
type Fingerprint struct {
	Masters     []string // NUMBER:MARK, a keyed hash of the master key for each number of it
	Customers   string   // id of the customers' source
	SigningKeys []string // ids of the signing keys; one in common is enough, so that keys can roll
}

const replicasKey = "glueauth:{replicas}"

// FingerprintLife is how long a fingerprint outlives the last replica that renewed it.
const FingerprintLife = time.Minute

// ErrOtherReplicas says that the replicas running on this Redis have other keys or customers; the text around it says
// which, and the remedy.
var ErrOtherReplicas = errors.New("does not fit the replicas that run on this Redis")

// Agree compares a fingerprint with that of the replicas that run, and renews it where it fits. Call it at start, and again
// well within [FingerprintLife]. It returns [ErrOtherReplicas] for one that does not fit.
func (s *Store) Agree(ctx context.Context, f Fingerprint) error {
	agree, err := composed("agree.lua")
	if err != nil {
		return err
	}
	got, err := s.run(ctx, agree, []string{replicasKey}, 0,
		seconds(FingerprintLife), f.Customers, strings.Join(f.Masters, " "), strings.Join(f.SigningKeys, " "))
	if err != nil {
		return err
	}
	r := reader{values: got}
	different := r.text(0)
	if r.bad {
		return unavailable(errAnswer)
	}
	remedies := map[string]string{
		"master":    "the master key is another one: give all replicas the same master_key_file",
		"customers": "the customers are others: point customers.file of all replicas at one database, or a copy of it, or customers.url at one shop",
		"signing":   "no signing key is in common: give all replicas the same keys.dir, or all of them keys.store: redis",
	}
	if different == "" {
		return nil
	}
	return fmt.Errorf("%w: %s (its trace goes %s after the last of them stops)", ErrOtherReplicas, remedies[different], FingerprintLife)
}

// Running reports whether replicas serve from this Redis, or did within the last [FingerprintLife].
func (s *Store) Running(ctx context.Context) (bool, error) {
	got, err := s.run(ctx, named("return redis.call('EXISTS', KEYS[1])"), []string{replicasKey}, 0)
	if err != nil {
		return false, err
	}
	r := reader{values: got}
	running := r.number(0) == 1
	if r.bad {
		return false, unavailable(errAnswer)
	}
	return running, nil
}
