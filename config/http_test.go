package config_test

import (
	"fmt"
	"testing"
)

func TestTrustedProxiesAreNetworks(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"trusted_proxies: 10.0.0.0/8":                             "[10.0.0.0/8]",
		"trusted_proxies: [192.0.2.7, 'fd00::/8', '2001:db8::1']": "[192.0.2.7/32 fd00::/8 2001:db8::1/128]",
		"trusted_proxies: ' 10.0.0.0/8 , 192.0.2.7,'":             "[10.0.0.0/8 192.0.2.7/32]",
		"trusted_proxies: ''":                                     "[]",
	} {
		if got := fmt.Sprint(mustLoad(t, file+"\n", nil, nil).HTTP.TrustedProxies); got != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
	for value, want := range map[string]string{
		"proxy.example":       `has "proxy.example", which is no network: write it like 10.0.0.0/8, 192.0.2.7 or fd00::/8`,
		"10.0.0.0/33":         `has "10.0.0.0/33", which is no network: write it like 10.0.0.0/8, 192.0.2.7 or fd00::/8`,
		"fe80::1%eth0":        `has "fe80::1%eth0", which is no network: write it like 10.0.0.0/8, 192.0.2.7 or fd00::/8`,
		"10.1.2.3/8":          `has "10.1.2.3/8", which is an address within a network: write 10.0.0.0/8`,
		"::ffff:10.0.0.0/104": `has "::ffff:10.0.0.0/104", which is an IPv4 network in IPv6's notation: write it like 10.0.0.0/8`,
		"0.0.0.0/0":           `has all addresses, so that everybody could choose his own: list the networks of the proxies only`,
		"::/0":                `has all addresses, so that everybody could choose his own: list the networks of the proxies only`,
	} {
		_, err := load(t, "", []string{"GLUEAUTH_TRUSTED_PROXIES=192.0.2.1," + value}, nil)
		want = fmt.Sprintf(`trusted_proxies: "192.0.2.1,%s" (environment GLUEAUTH_TRUSTED_PROXIES) %s`, value, want)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
