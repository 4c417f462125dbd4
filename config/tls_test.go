package config_test

import "testing"

func TestTheManagementListenerHasThePublicCertificate(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "tls: {cert: /etc/tls//tls.crt, key: /etc/tls/tls.key}\n", nil, nil)
	want := builtIn(t)
	want.File = c.File
	want.TLS.Cert, want.TLS.Key = "/etc/tls/tls.crt", "/etc/tls/tls.key"
	want.TLS.AdminCert, want.TLS.AdminKey = want.TLS.Cert, want.TLS.Key
	equal(t, want, c)
	equal(t, row{"/etc/tls/tls.crt", "tls.cert"}, printed(t, c)["tls.admin_cert"])
	equal(t, row{"/etc/tls/tls.key", "tls.key"}, printed(t, c)["tls.admin_key"])
}

func TestEachListenerMayHaveACertificateOfItsOwn(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "tls: {cert: a, key: b, admin_cert: c}\n", []string{"GLUEAUTH_TLS_KEY=d", "GLUEAUTH_TLS_ADMIN_KEY=e"}, nil)
	if got, want := c.TLS.Cert+c.TLS.Key+c.TLS.AdminCert+c.TLS.AdminKey, "adce"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c = mustLoad(t, "tls: {admin_cert: c, admin_key: d}\n", nil, []string{"--tls-self-signed"})
	if c.TLS.AdminCert != "c" || c.TLS.AdminKey != "d" || !c.TLS.SelfSigned {
		t.Errorf("%+v", c.TLS)
	}
}

func TestMistakesAboutTLS(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"tls: {cert: a}":                                         "tls.cert is set without tls.key: give the key's file too",
		"tls: {key: a}":                                          "tls.key is set without tls.cert: give the certificate's file too",
		"tls: {admin_cert: a}":                                   "tls.admin_cert is set without tls.admin_key: give the key's file too",
		"tls: {cert: a, key: b, admin_key: c}":                   "tls.admin_key is set without tls.admin_cert: give the certificate's file too",
		"tls: {cert: a, key: b, self_signed: true}":              "tls.self_signed and tls.cert are both set: keep one of them",
		"{admin_listen: '', tls: {admin_cert: a, admin_key: b}}": "tls.admin_cert is set, but admin_listen turns the management listener off: give it an address, or leave the certificate out",
	} {
		if _, err := load(t, file+"\n", nil, nil); err == nil || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", file, err, want)
		}
	}
}
