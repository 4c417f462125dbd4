package keys

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
)

// sealPurpose is what the key that seals records is derived for.
const sealPurpose = "signing-keys"

// A sealed record is
//
//	1 version ‖ 1 number of the key derived from the master key ‖ 12 nonce ‖ AES-256-GCM of the record
//
// where purpose, version, number and the record's name are authenticated too, so that none can stand in another's place.
const (
	sealVersion = 1
	sealHeader  = 2
	sealNonce   = 12
	sealKey     = 32
)

var errSealed = errors.New("it is damaged or newer than this program, or was sealed by another master key; give all servers the same master_key_file, " +
	"or restore it from a backup")

// seal returns the record of that name, sealed by the key of the options.
func (o Options) seal(name string, record []byte) ([]byte, error) {
	if o.Random == nil {
		return nil, errors.New("seal a signing key: there is no source of randomness")
	}
	nonce := make([]byte, sealNonce)
	if _, err := io.ReadFull(o.Random, nonce); err != nil {
		return nil, fmt.Errorf("read randomness to seal a signing key: %w", err)
	}
	header := []byte{sealVersion, o.sealNumber()}
	gcm, err := o.sealer(header[1])
	if err != nil {
		return nil, err
	}
	return gcm.Seal(append(header, nonce...), nonce, record, sealedWith(header, name)), nil
}

// unseal returns what the record of that name holds. Its error shows nothing of it.
func (o Options) unseal(name string, sealed []byte) ([]byte, error) {
	if len(sealed) < sealHeader+sealNonce || sealed[0] != sealVersion || sealed[1] == 0 {
		return nil, errSealed
	}
	header, rest := sealed[:sealHeader], sealed[sealHeader:]
	gcm, err := o.sealer(header[1])
	if err != nil {
		return nil, err
	}
	record, err := gcm.Open(nil, rest[:sealNonce], rest[sealNonce:], sealedWith(header, name))
	if err != nil {
		return nil, errSealed
	}
	return record, nil
}

// isStale reports whether an older master key has sealed a record than the one that seals now.
func (o Options) isStale(sealed []byte) bool {
	return o.Master.from(sealed[1]) < o.Master.from(o.sealNumber())
}

func (o Options) sealNumber() byte { return max(o.Number, 1) }

func (o Options) sealer(number byte) (cipher.AEAD, error) {
	key, err := o.Master.Derive(sealPurpose, number, sealKey)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal signing keys: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("seal signing keys: %w", err)
	}
	return gcm, nil
}

func sealedWith(header []byte, name string) []byte {
	return bytes.Join([][]byte{[]byte(sealPurpose), header, []byte(name)}, []byte{0})
}
