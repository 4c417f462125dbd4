package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"time"
)

// trialPeriod is the life of a certificate that nobody has issued.
const trialPeriod = 365 * 24 * time.Hour

// SelfSigned returns a certificate for trials, for these names and addresses. Its key is nowhere but in memory.
func SelfSigned(hosts []string, now func() time.Time, random io.Reader) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("make a key for the listeners: %w", err)
	}
	number := make([]byte, 16)
	if _, err := io.ReadFull(random, number); err != nil {
		return nil, fmt.Errorf("make a certificate for the listeners: %w", err)
	}
	number[0] = number[0]&0x7f | 0x40 // positive, and of full length (RFC 5280 §4.1.2.2)
	own := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(number),
		Subject:      pkix.Name{CommonName: "glueauth, self-signed for trials"},
		NotBefore:    now().Add(-time.Hour), // clocks differ
		NotAfter:     now().Add(trialPeriod),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},

		BasicConstraintsValid: true, // it issues nothing
	}
	for _, host := range hosts {
		if ip, err := netip.ParseAddr(host); err == nil {
			own.IPAddresses = append(own.IPAddresses, ip.WithZone("").AsSlice())
		} else {
			own.DNSNames = append(own.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(random, own, own, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for the listeners: %w", err)
	}
	if own, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("make a certificate for the listeners: %w", err)
	}
	c := &Certificate{now: now}
	c.current.Store(&pair{Certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: own}})
	return c, nil
}
