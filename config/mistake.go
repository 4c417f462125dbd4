package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

// entry is one line of [Config.Print].
type entry struct{ key, value, source string }

// take reads one value by its row of the table, the built-in one when none is given. A key without a value (YAML's null)
// gives none; but of a secret that is a mistake, as when a template left it open.
func (s setting) take(v value, given bool) (entry, error) {
	if !s.must && (!given || v.raw == nil && !s.secret) {
		v = value{raw: s.builtin, source: cmp.Or(s.from, builtIn)}
		if s.builtin == "" {
			return entry{key: s.key, source: v.source}, nil
		}
	}
	text, err := s.text(v.raw)
	if err == nil {
		err = s.read(text)
	}
	if err != nil {
		return entry{}, s.mistake(v, err)
	}
	return entry{s.key, s.show(text), v.source}, nil
}

// text returns a value as the text that a reader takes. Secrets are taken from quoted text only: YAML changes numbers.
func (s setting) text(raw any) (string, error) {
	switch v := raw.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool, int, int64, uint64:
		if s.secret || s.quoted {
			return "", errors.New("must be text: write it in quotes")
		}
		return fmt.Sprint(v), nil
	case time.Time: // what YAML makes of a day or a time
		if s.key == untilKey {
			return strings.TrimSuffix(v.Format(time.RFC3339), "T00:00:00Z"), nil
		}
	case []any:
		if s.list {
			return joined(v)
		}
	}
	if s.list {
		return "", errors.New("must be a list of texts")
	}
	return "", errOneValue
}

var errOneValue = errors.New("must be one value: write it on the line of its key, in quotes")

// joined is the form that a list has in the environment.
func joined(items []any) (string, error) {
	var list []string
	for _, item := range items {
		s, ok := item.(string)
		if !ok || s == "" || strings.Contains(s, ",") {
			return "", errors.New("must be a list of texts: write each in quotes, none empty and none with a comma")
		}
		list = append(list, s)
	}
	return strings.Join(list, ","), nil
}

func (s setting) show(text string) string {
	if s.secret && text != "" {
		return secret.Redacted
	}
	return text
}

// mistake is the one form of a message about a value.
func (s setting) mistake(v value, reason error) error {
	if text, ok := v.raw.(string); ok && !s.secret && (!s.nearSecret() || clearlyPath(text)) {
		return fmt.Errorf("%s: %s (%s) %w", s.key, quote(text), v.source, reason)
	}
	return fmt.Errorf("%s (%s) %w", s.key, v.source, reason)
}

// nearSecret reports whether somebody may have given a secret in the place of its file's path.
func (s setting) nearSecret() bool {
	return strings.HasSuffix(s.key, "_file") || strings.HasPrefix(s.key, "tls.")
}

func clearlyPath(text string) bool {
	return !strings.ContainsAny(text, "\r\n") && (strings.HasPrefix(text, "/") || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../"))
}

// checkListeners refuses two listeners on one address.
func (c *Config) checkListeners(given map[string]value) error {
	if c.Listen != c.AdminListen || strings.HasSuffix(c.Listen, ":0") {
		return nil
	}
	v, ok := given["admin_listen"]
	if !ok {
		v = value{raw: c.AdminListen, source: builtIn}
	}
	return setting{key: "admin_listen"}.mistake(v, errors.New("is the address of listen too: give it another port"))
}

// checkRotation refuses a rotation that would begin before the last one is through.
func (c *Config) checkRotation(given map[string]value) error {
	const key = "keys.rotate_every"
	least := 2*c.Keys.JWKSCache + 2*time.Second
	if c.Keys.RotateEvery == 0 || c.Keys.RotateEvery >= least {
		return nil
	}
	return setting{key: key}.mistake(given[key], fmt.Errorf("is too short beside keys.jwks_cache: write %s or more, or 0s for never", least))
}

// checkRefresh refuses a lifetime of refresh tokens that goes beyond the end of their session.
func (c *Config) checkRefresh(given map[string]value) error {
	const key = "refresh.lifetime"
	return c.outlasts(given[key], key, "refresh.max_lifetime", c.Refresh.Lifetime, c.Refresh.MaxLifetime)
}

// outlasts refuses a given period that is longer than most; one that nobody has given only goes as far as it can.
func (c *Config) outlasts(given value, key, mostKey string, p, most Period) error {
	start := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	if given.raw == nil || !p.After(start).After(most.After(start)) {
		return nil
	}
	return setting{key: key}.mistake(given, fmt.Errorf("is longer than %s (%s), which ends the session: write a shorter one, or raise that", mostKey, c.entry(mostKey).value))
}

// notBoth refuses a secret that is given itself and by a file.
func notBoth(given map[string]value, key, fileKey string) error {
	itself, one := given[key]
	byFile, other := given[fileKey]
	if !one || !other {
		return nil
	}
	return fmt.Errorf("%s (%s) and %s (%s) are both given: keep one of them", key, itself.source, fileKey, byFile.source)
}

// cause drops the path that file errors begin with; the message around it has the path already.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
