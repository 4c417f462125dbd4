package config

import (
	"errors"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

// Legacy is how sessions that the shop began are taken over.
type Legacy struct {
	EncryptionKey secret.Text // the shop's; empty: none is taken over
	Until         time.Time   // from then on nothing more is taken over; zero: not said
}

const untilKey = "legacy.until"

func legacySettings(c *Config) []setting {
	return []setting{
		{key: "legacy.encryption_key", secret: true, read: required("give the shop's key, or leave it out to take nothing over", secretText(&c.Legacy.EncryptionKey)), meaning: "the shop's encryption key: refresh tokens that the shop has issued (`def50200…`) are taken over at their next use; without it, they are refused"},
		{key: "legacy.encryption_key_file", read: optional(secretPath(&c.legacyKeyFile)), meaning: "file that holds `legacy.encryption_key` instead"},
		{key: untilKey, read: optional(date(&c.Legacy.Until)), meaning: "day, or RFC 3339 time, from which nothing more is taken over, like `2027-01-31`; must be given where the shop's own table of refresh tokens is not asked"},
	}
}

func (c *Config) readLegacy(given map[string]value) error {
	const key = "legacy.encryption_key"
	return c.fromFile(given, key, key+"_file", c.legacyKeyFile, secretText(&c.Legacy.EncryptionKey))
}

// date reads the beginning of a day in UTC, or a point in time.
func date(to *time.Time) reader {
	return func(s string) error {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if t, err := time.Parse(layout, s); err == nil {
				*to = t
				return nil
			}
		}
		return errors.New("must be a day like 2027-01-31, or a time like 2027-01-31T04:00:00+01:00")
	}
}
