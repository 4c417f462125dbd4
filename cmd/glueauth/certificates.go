package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/transport"
)

// The names of the listeners, in logs and metrics.
const (
	publicListener     = "public"
	managementListener = "management"
)

// followCertificatesEvery is how soon a server sees that the files of its certificates have changed.
const followCertificatesEvery = time.Second

// certificates are those that the listeners prove themselves with.
type certificates struct {
	of      map[string]*transport.Certificate // by listener; one that is not there speaks plain HTTP
	own     *transport.Certificate            // the self-signed one among them, else nil
	ownFile string                            // where clients find it
	metrics *handlers.Metrics
	logger  *slog.Logger

	failed map[string]refusal // by listener, while its files cannot be used
	warned map[string]string  // by listener: the warning that was told last
}

// refusal is why a pair of files is not used.
type refusal struct {
	reason string
	told   bool
}

// newCertificates opens the certificates that the settings name, or makes one. That is put into the data folder, where clients
// find it; its key stays in memory.
func newCertificates(ctx context.Context, cfg *config.Config, metrics *handlers.Metrics, logger *slog.Logger) (*certificates, error) {
	of, err := openCertificates(cfg)
	if err != nil {
		return nil, err
	}
	cs := &certificates{of: of, metrics: metrics, logger: logger, failed: map[string]refusal{}, warned: map[string]string{}}
	if cfg.TLS.SelfSigned {
		if cs.own, err = transport.SelfSigned(ownHosts(cfg), time.Now, rand.Reader); err != nil {
			return nil, err
		}
		cs.ownFile = ownCertificateFile(cfg)
		if err := os.WriteFile(cs.ownFile, cs.own.PEM(), 0o600); err != nil {
			return nil, fmt.Errorf("write the self-signed certificate: %w; let the user of this process write there", err)
		}
		of[publicListener] = cs.own
		if of[managementListener] == nil && cfg.AdminListen != "" {
			of[managementListener] = cs.own
		}
	}
	cs.tell(ctx)
	return cs, nil
}

// openCertificates opens the certificates that the settings name, by listener.
func openCertificates(cfg *config.Config) (map[string]*transport.Certificate, error) {
	t, of := cfg.TLS, map[string]*transport.Certificate{}
	if t.Cert != "" {
		certificate, err := transport.OpenCertificate(t.Cert, t.Key, time.Now)
		if err != nil {
			return nil, fmt.Errorf("tls.cert, tls.key: %w", err)
		}
		of[publicListener] = certificate
	}
	if t.AdminCert == "" || cfg.AdminListen == "" {
		return of, nil
	}
	if t.AdminCert == t.Cert && t.AdminKey == t.Key {
		of[managementListener] = of[publicListener]
		return of, nil
	}
	certificate, err := transport.OpenCertificate(t.AdminCert, t.AdminKey, time.Now)
	if err != nil {
		return nil, fmt.Errorf("tls.admin_cert, tls.admin_key: %w", err)
	}
	of[managementListener] = certificate
	return of, nil
}

// certificateFile is where the certificate stands that the listener of healthAddress shows; empty: it speaks plain HTTP.
func certificateFile(cfg *config.Config) string {
	file := cfg.TLS.Cert
	if cfg.AdminListen != "" {
		file = cfg.TLS.AdminCert
	}
	if file == "" && cfg.TLS.SelfSigned {
		file = ownCertificateFile(cfg)
	}
	return file
}

func ownCertificateFile(cfg *config.Config) string {
	return filepath.Join(cfg.Data, "tls-self-signed.pem")
}

// ownHosts is whom a self-signed certificate is for: this machine, and the hosts that the listeners are bound to.
func ownHosts(cfg *config.Config) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, address := range []string{cfg.Listen, cfg.AdminListen} {
		host, _, err := net.SplitHostPort(address)
		ip := net.ParseIP(host)
		if err == nil && host != "" && !ip.IsUnspecified() && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// follow is a chore. A pair that cannot be used is told once, and not before it was found so twice: files that are replaced
// one after the other do not belong together for a moment.
func (cs *certificates) follow(ctx context.Context) error {
	for _, listener := range cs.each() {
		changed, err := cs.of[listener].Refresh()
		switch was := cs.failed[listener]; {
		case err == nil:
			delete(cs.failed, listener)
		case was.reason != err.Error():
			cs.failed[listener] = refusal{reason: err.Error()}
		case !was.told:
			cs.failed[listener] = refusal{reason: was.reason, told: true}
			cs.logger.ErrorContext(ctx, "the new certificate is not used, the one of before goes on", "listener", listener, "error", err)
		}
		if changed {
			cs.logger.InfoContext(ctx, "new certificate", "listener", listener,
				"sha256", cs.of[listener].Fingerprint(), "not_after", cs.of[listener].NotAfter().UTC())
		}
	}
	cs.tell(ctx)
	return nil
}

// each returns the listeners whose certificates are different ones, in a fixed order.
func (cs *certificates) each() []string {
	var names []string
	for _, listener := range []string{publicListener, managementListener} {
		c, secured := cs.of[listener]
		if secured && !slices.ContainsFunc(names, func(name string) bool { return cs.of[name] == c }) {
			names = append(names, listener)
		}
	}
	return names
}

// tell keeps the metrics right, and warns once of a certificate that expires.
func (cs *certificates) tell(ctx context.Context) {
	for listener, c := range cs.of {
		cs.metrics.CertificateExpires(listener, c.NotAfter())
	}
	for _, listener := range cs.each() {
		warning := cs.of[listener].Warning()
		if warning != "" && warning != cs.warned[listener] {
			cs.logger.WarnContext(ctx, "certificate", "listener", listener, "warning", warning)
		}
		cs.warned[listener] = warning
	}
}

// warnings is for /readyz?verbose.
func (cs *certificates) warnings() []string {
	var texts []string
	for _, listener := range cs.each() {
		if warning := cs.of[listener].Warning(); warning != "" {
			texts = append(texts, warning)
		}
	}
	return texts
}

// welcome prints how to call a server that is there to be tried.
func welcome(ctx context.Context, cfg *config.Config, r *rooms, cs *certificates, address net.Addr, stdout io.Writer, logger *slog.Logger) error {
	curl := "curl -s http://" + reachable(address)
	switch certificate, secured := cs.of[publicListener]; {
	case !secured:
	case certificate == cs.own:
		curl = "curl -s --cacert " + cs.ownFile + " https://" + reachable(address)
		logger.WarnContext(ctx, "this server's certificate is self-signed, for trials only", "sha256", cs.own.Fingerprint(), "file", cs.ownFile)
		if _, err := fmt.Fprintf(stdout, "The certificate is self-signed, for trials only; its SHA-256 fingerprint is\n%s\n\n%s/livez\n\n", cs.own.Fingerprint(), curl); err != nil {
			return fmt.Errorf("print the fingerprint: %w", err)
		}
	default:
		curl = "curl -sk https://" + reachable(address) // its names are others
	}
	if !cfg.Demo {
		return nil
	}
	return demo(ctx, r, curl, stdout, logger)
}
