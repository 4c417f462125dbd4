package config

import "fmt"

// TLS is what the listeners prove themselves with. Without certificate and SelfSigned, a listener speaks plain HTTP.
type TLS struct {
	Cert, Key           string // PEM files of the public listener, both or neither
	AdminCert, AdminKey string // those of the management listener, which are the public ones unless others are given
	SelfSigned          bool   // a listener without files makes a certificate of its own at each start
}

func tlsSettings(c *Config) []setting {
	return []setting{
		{key: "tls.cert", read: optional(secretPath(&c.TLS.Cert)), meaning: "PEM file of the listeners' certificate, its chain after it; with `tls.key` both listeners speak HTTPS, and follow the files"},
		{key: "tls.key", read: optional(secretPath(&c.TLS.Key)), meaning: "PEM file of its private key, which other users must not be able to read"},
		{key: "tls.admin_cert", from: "tls.cert", read: optional(secretPath(&c.TLS.AdminCert)), meaning: "another certificate for the management listener"},
		{key: "tls.admin_key", from: "tls.key", read: optional(secretPath(&c.TLS.AdminKey)), meaning: "its private key"},
		{key: "tls.self_signed", flag: "tls-self-signed", builtin: "false", read: boolean(&c.TLS.SelfSigned), meaning: "for trials: HTTPS with a certificate of its own, new at each start"},
	}
}

// readTLS looks whether each certificate has its key, and gives the management listener the public one's.
func (c *Config) readTLS(map[string]value) error {
	t := &c.TLS
	for _, m := range []struct {
		wrong           bool
		mistake, remedy string
	}{
		{t.Cert != "" && t.Key == "", "tls.cert is set without tls.key", "give the key's file too"},
		{t.Cert == "" && t.Key != "", "tls.key is set without tls.cert", "give the certificate's file too"},
		{t.AdminCert != "" && t.AdminKey == "", "tls.admin_cert is set without tls.admin_key", "give the key's file too"},
		{t.AdminCert == "" && t.AdminKey != "", "tls.admin_key is set without tls.admin_cert", "give the certificate's file too"},
		{t.SelfSigned && t.Cert != "", "tls.self_signed and tls.cert are both set", "keep one of them"},
		{t.AdminCert != "" && c.AdminListen == "", "tls.admin_cert is set, but admin_listen turns the management listener off", "give it an address, or leave the certificate out"},
	} {
		if m.wrong {
			return fmt.Errorf("%s: %s", m.mistake, m.remedy)
		}
	}
	if t.AdminCert == "" {
		t.AdminCert, t.AdminKey = t.Cert, t.Key
		c.entry("tls.admin_cert").value, c.entry("tls.admin_key").value = t.Cert, t.Key
	}
	return nil
}
