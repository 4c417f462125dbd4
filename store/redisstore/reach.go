package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

const reachPatience = 3 * time.Second // for each attempt; nobody waits but an operator

// Reach goes to each host of a URL as far as the network and TLS go. Its error is of the first one that does not let us: in
// plain words why and, behind a colon, the remedy. It logs in nowhere, and nothing of the URL but its hosts is shown.
func Reach(ctx context.Context, url secret.Text) error {
	a, err := parse(url.Reveal())
	if err != nil {
		return err
	}
	for _, host := range a.hosts {
		if err := a.reach(ctx, host); err != nil {
			return err
		}
	}
	return nil
}

func (a address) reach(ctx context.Context, host string) error {
	switch err := a.greet(ctx, host, a.tls); {
	case err == nil:
		return nil
	case isDial(err):
		return fmt.Errorf("there is no connection to %s (%s): start it, or correct the host and the port in redis.url", host, dialReason(err))
	case a.tls && isUntrusted(err):
		return fmt.Errorf("%s cannot be trusted: %s", host, untrusted(err))
	case a.tls && a.greet(ctx, host, false) == nil:
		return fmt.Errorf("%s refuses TLS, it speaks without: write redis in place of rediss in redis.url, or give it a certificate and name its TLS port", host)
	case a.tls:
		return fmt.Errorf("%s refuses TLS: name its TLS port in redis.url, and let it allow TLS 1.2 or newer without a certificate of ours", host)
	}
	if err := a.greet(ctx, host, true); err == nil || isUntrusted(err) {
		return fmt.Errorf("%s speaks TLS only: write rediss in place of redis in redis.url", host)
	}
	return fmt.Errorf("%s takes connections and does not answer as Redis does: look whether it hangs, or correct the port in redis.url", host)
}

// greet connects, and has one command answered in any way that is Redis's own.
func (a address) greet(ctx context.Context, host string, encrypted bool) error {
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, a.network, host)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing was written that matters
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if encrypted {
		name, _, _ := net.SplitHostPort(host)
		conn = tls.Client(conn, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12})
	}
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return err
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return err
	}
	if first[0] != '+' && first[0] != '-' {
		return errAnswer
	}
	return nil
}

func isDial(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

func dialReason(err error) string {
	e, _ := errors.AsType[*net.OpError](err)
	if e.Timeout() {
		return "it does not answer in time"
	}
	return reason(e.Err)
}

func isUntrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// untrusted says what is wrong with a certificate, and the remedy.
func untrusted(err error) string {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !ok || invalid.Reason != x509.Expired || invalid.Cert == nil {
		return "its certificate is for another host or from an unknown authority; SSL_CERT_FILE can name one"
	}
	const day = time.DateOnly
	return fmt.Sprintf("its certificate has expired or is not valid yet, it holds from %s to %s; renew it, or correct this machine's clock",
		invalid.Cert.NotBefore.Format(day), invalid.Cert.NotAfter.Format(day))
}
