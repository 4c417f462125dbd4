package redisstore

import (
	"context"
	"errors"
)

// Keyring keeps sealed records in Redis, all of them in one hash without an end. Those that are put aside go to another.
type Keyring struct {
	store               *Store
	version, load, swap script
}

const (
	keyringKey   = "glueauth:{keys}"
	asideKey     = keyringKey + ":aside"
	versionField = "version"
)

// Keyring returns the records that are kept beside the sessions.
func (s *Store) Keyring() (*Keyring, error) {
	swap, err := composed("keyring.lua")
	if err != nil {
		return nil, err
	}
	return &Keyring{
		store:   s,
		version: named("return redis.call('HGET', KEYS[1], '" + versionField + "') or ''"),
		load:    named("return redis.call('HGETALL', KEYS[1])"),
		swap:    swap,
	}, nil
}

// Version returns what changes with every change of the records, empty while there are none.
func (k *Keyring) Version(ctx context.Context) (string, error) {
	got, err := k.store.run(ctx, k.version, []string{keyringKey}, 0)
	if err != nil {
		return "", err
	}
	r := reader{values: got}
	version := r.text(0)
	if r.bad {
		return "", unavailable(errAnswer)
	}
	return version, nil
}

// Load returns all records by name, and their version.
func (k *Keyring) Load(ctx context.Context) (version string, records map[string][]byte, err error) {
	got, err := k.store.run(ctx, k.load, []string{keyringKey}, 0)
	if err != nil {
		return "", nil, err
	}
	r, records := reader{values: got}, map[string][]byte{}
	for i := 0; i+1 < len(got); i += 2 {
		records[r.text(i)] = []byte(r.text(i + 1))
	}
	if r.bad {
		return "", nil, unavailable(errAnswer)
	}
	version = string(records[versionField])
	delete(records, versionField)
	if version == "" && len(records) > 0 {
		return "", nil, errors.New("the hash " + keyringKey + " in redis has lost its version; restore it from a backup")
	}
	return version, records, nil
}

// Swap adds or replaces records and puts others aside, in one step, if they still have the version from. They have the
// version next then. It reports whether that was so, and waits for as many replicas as a sign-in does.
func (k *Keyring) Swap(ctx context.Context, from, next string, records map[string][]byte, aside []string) (bool, error) {
	args := []any{from, next, len(records)}
	for name, value := range records {
		args = append(args, name, value)
	}
	for _, name := range aside {
		args = append(args, name)
	}
	got, err := k.store.run(ctx, k.swap, []string{keyringKey, asideKey}, k.store.confirm, args...)
	if err != nil {
		return false, err
	}
	r := reader{values: got}
	swapped := r.number(0) == 1
	if r.bad {
		return false, unavailable(errAnswer)
	}
	return swapped, nil
}
