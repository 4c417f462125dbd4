package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlstore"
)

// customerStore is what every source of customers offers.
type customerStore interface {
	server.Customers
	server.InspectedCustomers
	Ping(ctx context.Context) error
}

const customersInFile = "file" // customers.source

// openCustomers opens the customers. open opens an embedded database, which is kept for the sessions; with a shop's database
// there is none.
func (r *rooms) openCustomers(ctx context.Context, cfg *config.Config, open func(path string) (*sqlitefile.File, error), logger *slog.Logger) error {
	if cfg.Customers.Source != customersInFile {
		return r.openShop(ctx, cfg, logger)
	}
	file, err := open(cfg.Customers.File)
	if err != nil {
		return err
	}
	r.embedded = sqlstore.New(file, time.Now, rand.Reader)
	r.people, r.customers, r.customersID = file, r.embedded, file.ID
	return nil
}

// openShop opens a shop's database, and tells what it lacks.
func (r *rooms) openShop(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	shop, err := sqlstore.OpenShop(ctx, sqlstore.ShopOptions{URL: cfg.Customers.URL, Query: cfg.Customers.Query})
	if err != nil {
		return err
	}
	r.closers = append(r.closers, func() error { shop.Close(); return nil })
	r.customers, r.customersID = shop, shop.ID()
	if shop.KeepsTokens() {
		r.shop = shop
	}
	for _, f := range shop.Findings() {
		if f.Remedy == "" {
			logger.InfoContext(ctx, "looked at the shop's database", "finding", f.What)
		} else {
			logger.WarnContext(ctx, "looked at the shop's database", "finding", f.What, "remedy", f.Remedy)
		}
	}
	return nil
}

// ownCustomers says why a command that manages customers cannot when they are the shop's.
func ownCustomers(cfg *config.Config) error {
	if cfg.Customers.Source != customersInFile {
		return fmt.Errorf("customers.source is %s: manage the customers in the shop; this command is for customers.source: file", cfg.Customers.Source)
	}
	return nil
}
