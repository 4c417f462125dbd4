package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// manifestFile holds the times of the keys that rotate. A folder that was never rotated has none.
const manifestFile = "schedule.json"

const manifestVersion = 1

// entry is what the manifest says of one key.
type entry struct {
	Kid       string    `json:"kid"`
	Algorithm string    `json:"alg"`
	Announced time.Time `json:"announced"`
	Signs     time.Time `json:"signs"` // equal to Announced: at once
	// TokenSeconds is the longest life of the tokens that the key has signed, as far as settings have told.
	TokenSeconds int64     `json:"token_seconds"`
	Withdrawn    time.Time `json:"withdrawn,omitzero"`
}

type manifest struct {
	Version int     `json:"version"`
	Keys    []entry `json:"keys"`
}

// readManifest returns the entries; a folder without a manifest has none. The times are public, so others may read the
// file but not choose them.
func readManifest(dir string) ([]entry, error) {
	path := filepath.Join(dir, manifestFile)
	data, err := readFile(path, writeByOthers)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseManifest(path, data)
}

// parseManifest reads the manifest that is at path, as messages call it.
func parseManifest(path string, data []byte) ([]entry, error) {
	var m manifest
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil || decoder.More() {
		return nil, fmt.Errorf("%s is damaged or newer than this program; restore it from a backup, or use the newer program", path)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("%s has version %d and this program knows version %d; use the program that wrote it", path, m.Version, manifestVersion)
	}
	for i, e := range m.Keys {
		_, err := algorithmNamed(e.Algorithm)
		twice := slices.ContainsFunc(m.Keys[:i], func(o entry) bool { return o.Kid == e.Kid })
		if err != nil || twice || e.Kid == "" || e.Signs.Before(e.Announced) || e.TokenSeconds < 0 {
			return nil, fmt.Errorf("%s says of the key %q what cannot be; restore it from a backup", path, e.Kid)
		}
	}
	return m.Keys, nil
}

// writeManifest replaces the manifest in one step.
func writeManifest(dir string, entries []entry) error {
	data, err := encodeManifest(entries)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, manifestFile), data)
}

func encodeManifest(entries []entry) ([]byte, error) {
	data, err := json.MarshalIndent(manifest{manifestVersion, entries}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the schedule of the keys: %w", err)
	}
	return append(data, '\n'), nil
}

// replaceFile puts another content in the place of a file, in one step.
func replaceFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	temp, err := writeTemp(dir, data)
	if err == nil {
		if err = os.Rename(temp, path); err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w; %s", path, err, writeRemedy(err))
	}
	return nil
}
