package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/store/sqlitefile"
)

// wasServed reports whether the database in the data folder has had a server with a master key and signing keys.
// It may not be open in this process meanwhile.
func wasServed(ctx context.Context, cfg *config.Config) (served bool, err error) {
	path := filepath.Join(cfg.Data, databaseName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	file, err := sqlitefile.Open(ctx, path, sqlitefile.Options{Look: true})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return file.Claimed(ctx)
}

// lostMaster returns an error where there is no master key although the database has had one: with a new one no refresh
// token of its sessions would be good.
func lostMaster(ctx context.Context, cfg *config.Config) error {
	served, err := wasServed(ctx, cfg)
	if err != nil || !served {
		return err
	}
	return fmt.Errorf("there is no master key in %s, but %s was used with one; restore it from a backup or correct master_key_file, "+
		"or run glueauth keys accept-master, and every customer signs in again", cfg.Keys.MasterFile, filepath.Join(cfg.Data, databaseName))
}
