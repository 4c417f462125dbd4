package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/config/secret"
)

const localDeadline = 2 * time.Second

// askServer asks the server with these settings on this machine. Where it speaks TLS, its certificate is seldom one for
// localhost. It is not looked at for the sake of an answer: whoever has the listener's port on this machine has the server's
// place, and while the files are broken the certificate of before goes on. A secret is sent to none but the very certificate that
// the settings name.
func askServer(ctx context.Context, cfg *config.Config, path string, bearer secret.Text) (*http.Response, error) {
	address, err := healthAddress(cfg)
	if err != nil {
		return nil, err
	}
	scheme, transport := "http://", &http.Transport{DisableKeepAlives: true} // no proxy: this machine only
	if file := certificateFile(cfg); file != "" {
		scheme = "https://"
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // see above
		if bearer != "" {
			transport.TLSClientConfig.VerifyConnection = func(s tls.ConnectionState) error { return isIn(file, s) }
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+address+path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the server does not answer: %w", err)
	}
	return response, nil
}

// isIn demands that the other side has shown the first certificate of a PEM file.
func isIn(file string, s tls.ConnectionState) error {
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own path
	if err != nil {
		return fmt.Errorf("its certificate cannot be compared: %w", err)
	}
	block, rest := pem.Decode(text)
	for block != nil && block.Type != "CERTIFICATE" {
		block, rest = pem.Decode(rest)
	}
	if block == nil || len(s.PeerCertificates) == 0 || !bytes.Equal(block.Bytes, s.PeerCertificates[0].Raw) {
		return fmt.Errorf("its certificate is not the one in %s", file)
	}
	return nil
}
