package keys_test

import (
	"crypto/rsa"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
)

// FuzzParsePEM holds that whatever is accepted is one strong key and nothing else, and that no error shows the input.
func FuzzParsePEM(f *testing.F) {
	for _, pattern := range []string{"testdata/*.pem", "testdata/other/*.pem", "testdata/refused/*.pem"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			f.Add(data[:len(data)/2])
			f.Add(append(data, data...))
		}
	}
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: x\n\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		private, err := keys.ParsePEM(data)
		asAny(t, data, err == nil)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 300 {
				t.Errorf("error of odd form: %q", err)
			}
			return
		}
		if !strong(private) {
			t.Errorf("accepted a weak key of %d bits, exponent %d", private.N.BitLen(), private.E)
		}
		if strings.Count(string(data), "-----BEGIN ") != 1 {
			t.Error("accepted several blocks")
		}
	})
}

// asAny holds that whatever is accepted as a ring's key can be published, and that an RSA key is.
func asAny(t *testing.T, data []byte, isRSA bool) {
	t.Helper()
	private, err := keys.ParseAny(data)
	if err == nil && len(keys.Thumbprint(private.Public())) != 43 {
		t.Errorf("accepted a %T", private)
	}
	if err != nil && isRSA {
		t.Errorf("an RSA key is refused as any: %v", err)
	}
}

func strong(key *rsa.PrivateKey) bool {
	return key.N.BitLen() >= 2048 && key.E >= 65537 && key.E%2 == 1 && key.Validate() == nil
}

// FuzzParseMaster holds that only the documented forms are accepted, that hex is read as hex, and that no error shows
// the input.
func FuzzParseMaster(f *testing.F) {
	for _, text := range texts(masterKey()) {
		f.Add(text)
		f.Add(text + "\n")
		f.Add(text[1:])
	}
	f.Add("")
	f.Add(strings.Repeat("=", 44))
	f.Fuzz(func(t *testing.T, text string) {
		m, err := keys.ParseMaster(secret.Text(text))
		if err != nil {
			if len(text) > 8 && strings.Contains(err.Error(), text) && !strings.Contains(masterHelp, text) {
				t.Errorf("error shows the input: %v", err)
			}
			return
		}
		if len(text) != 64 && len(text) != 43 && len(text) != 44 {
			t.Errorf("accepted %d characters", len(text))
		}
		derived, err := m.Derive("refresh-token", 1, 16)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := hex.DecodeString(text); err == nil && string(derived) != string(hkdf(raw, []byte("refresh-token\x01"), 16)) {
			t.Error("hex was read as something else")
		}
	})
}

// masterHelp is the fixed error; parts of it are no leak.
const masterHelp = "the master key must be 64 hex digits or the base64 of 32 bytes; make one with openssl rand -base64 32"
