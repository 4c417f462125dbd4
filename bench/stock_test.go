package bench_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/go-oauth2/oauth2/v4/errors"
	"github.com/go-oauth2/oauth2/v4/generates"
	"github.com/go-oauth2/oauth2/v4/manage"
	"github.com/go-oauth2/oauth2/v4/models"
	"github.com/go-oauth2/oauth2/v4/server"
	"github.com/go-oauth2/oauth2/v4/store"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/bcrypt"
)

// stockArgument makes this program the stock server; the file of its customers follows.
const stockArgument = "stock-server"

// serveStock serves what the readme of go-oauth2 builds, with its memory store, its RS256 tokens and a look at a bcrypt hash
// for a password. It prints its address.
func serveStock(file string) error {
	hashes, err := readHashes(file)
	if err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	manager := manage.NewDefaultManager()
	manager.MustTokenStorage(store.NewMemoryTokenStore())
	manager.MapAccessGenerate(generates.NewJWTAccessGenerate("1", block, jwt.SigningMethodRS256))
	clients := store.NewClientStore()
	if err := clients.Set("frontend", &models.Client{ID: "frontend", Secret: "999999"}); err != nil {
		return fmt.Errorf("add the client: %w", err)
	}
	manager.MapClientStorage(clients)
	stock := server.NewDefaultServer(manager)
	stock.SetClientInfoHandler(server.ClientFormHandler)
	stock.SetPasswordAuthorizationHandler(func(_ context.Context, _, username, password string) (string, error) {
		if bcrypt.CompareHashAndPassword([]byte(hashes[username]), []byte(password)) != nil {
			return "", errors.ErrAccessDenied
		}
		return username, nil
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Println(listener.Addr())
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = stock.HandleTokenRequest(w, r) }))
}

// readHashes reads the file that glueauth imports.
func readHashes(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("customers: %w", err)
	}
	defer func() { _ = f.Close() }()
	hashes := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if column := strings.Split(lines.Text(), ","); len(column) == 3 {
			hashes[column[1]] = column[2]
		}
	}
	return hashes, nil
}
