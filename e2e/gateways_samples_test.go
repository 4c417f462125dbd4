package e2e_test

import (
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// gatewaySamples are the shipped configurations that Debian's programs run.
func gatewaySamples() []gatewaySample {
	all := map[string]string{"X-Customer-Reference": gatewayCustomer, "X-Customer-Id": "1", "X-Scopes": "customer"}
	reference := map[string]string{"X-Customer-Reference": gatewayCustomer}
	twice := map[string]string{"a second header": "400"}
	return []gatewaySample{
		{name: "nginx njs", file: "nginx/njs.conf", command: runNjs, lost: "503", claims: true, customer: all, want: twice},
		{name: "nginx auth_request", file: "nginx/auth_request.conf", command: runAuthRequest, asks: true, lost: "503", customer: all, want: twice},
		{name: "Caddy forward_auth", file: "caddy/Caddyfile", command: runCaddy, asks: true, lost: "502", customer: all},
		{name: "Apache mod_auth_openidc", file: "apache/mod_auth_openidc.conf", command: runApache, lost: "401 Bearer", claims: true, customer: reference},
		{name: "Apache mod_auth_openidc, introspection", file: "apache/mod_auth_openidc-introspect.conf", command: runApache, lost: "401 Bearer", claims: true, customer: reference, asks: true},
		{name: "Apache mod_oauth2", file: "apache/mod_oauth2.conf", command: runApache, lost: "401 Bearer", claims: true, customer: reference},
		{name: "Apache mod_oauth2, introspection", file: "apache/mod_oauth2-introspect.conf", command: runApache, lost: "401 Bearer", claims: true, customer: reference, asks: true},
	}
}

func runNjs(t *testing.T, s *gatewayScene, at gatewayPlace) *exec.Cmd {
	t.Helper()
	const cache = "/var/cache/glueauth-jwks"
	if _, err := os.Stat(filepath.Dir(cache)); err != nil {
		t.Errorf("nginx makes the last folder of its cache only: %v", err)
	}
	write(t, at.dir, "glueauth.js", configured(t, "nginx/glueauth.js", nil), 0o644)
	return nginx(t, s, at, map[string]string{
		"/etc/nginx;": at.dir + ";",
		cache:         filepath.Join(at.dir, "jwks"),
	})
}

func runAuthRequest(t *testing.T, s *gatewayScene, at gatewayPlace) *exec.Cmd {
	t.Helper()
	return nginx(t, s, at, nil)
}

// nginx runs a sample as Debian's nginx.conf includes it.
func nginx(t *testing.T, s *gatewayScene, at gatewayPlace, values map[string]string) *exec.Cmd {
	t.Helper()
	server, err := url.Parse(s.p.public)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"127.0.0.1:8080": server.Host, "127.0.0.1:9000": at.api, "127.0.0.1:8000": at.listen}
	maps.Copy(all, values)
	if server.Scheme == "https" {
		all["http://glueauth/"] = "https://glueauth/"
		all["/etc/ssl/certs/ca-certificates.crt"] = write(t, at.dir, "ca.pem", s.authorities, 0o644)
		all["proxy_ssl_name          login.shop.example"] = "proxy_ssl_name example.com" // as the certificate of net/http/httptest
	}
	write(t, at.dir, "sample.conf", configured(t, at.file, all), 0o644)
	main := write(t, at.dir, "nginx.conf", `
load_module /usr/lib/nginx/modules/ngx_http_js_module.so;
daemon off;
pid nginx.pid;
error_log stderr;
worker_processes 2;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path       proxy;
    fastcgi_temp_path     fastcgi;
    uwsgi_temp_path       uwsgi;
    scgi_temp_path        scgi;
    include sample.conf;
}
`, 0o644)
	return exec.Command(program(t, "nginx"), "-p", at.dir, "-e", "stderr", "-c", main)
}

func runCaddy(t *testing.T, s *gatewayScene, at gatewayPlace) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program(t, "caddy"), "run", "--config", filepath.Join(gatewayFolder, at.file))
	cmd.Env = []string{"GATEWAY_LISTEN=http://" + at.listen, "GATEWAY_BACKEND=" + at.api, "GLUEAUTH=" + s.p.public}
	return cmd
}

// runApache runs a sample with the module that it is named after, and those that Debian's Apache has on, or it says to put on.
func runApache(t *testing.T, s *gatewayScene, at gatewayPlace) *exec.Cmd {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(gatewayFolder, at.file))
	if err != nil {
		t.Fatal(err)
	}
	module, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(at.file), ".conf"), "-")
	page := "ServerRoot " + at.dir + "\nServerName localhost\nDefaultRuntimeDir .\nPidFile httpd.pid\nErrorLog /dev/stderr\nUser www-data\nGroup www-data\n"
	for _, name := range []string{"mpm_event", "authn_core", "authz_core", "authz_user", "headers", "proxy", "proxy_http", strings.TrimPrefix(module, "mod_")} {
		page += "LoadModule " + name + "_module /usr/lib/apache2/modules/mod_" + name + ".so\n"
	}
	main := write(t, at.dir, "apache2.conf", page+"Include "+path+"\n", 0o644)
	cmd := exec.Command(program(t, "apache2"), "-D", "FOREGROUND", "-f", main)
	cmd.Env = []string{
		"GATEWAY_LISTEN=" + at.listen, "GATEWAY_BACKEND=" + at.api, "GLUEAUTH=" + s.tls, "GLUEAUTH_CA=" + write(t, at.dir, "ca.pem", s.authorities, 0o644),
		"GLUEAUTH_VERIFY=" + strconv.FormatBool(s.verify), "TOKEN_ISSUER=" + witnessIssuer, "TOKEN_AUDIENCE=frontend",
		"CLIENT_ID=gateway", "CLIENT_SECRET=gateway-secret",
	}
	return cmd
}
