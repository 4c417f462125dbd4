package redisstore

import (
	"crypto/sha1" //nolint:gosec // how Redis names scripts
	"embed"
	"encoding/hex"
	"fmt"
)

//go:embed *.lua
var texts embed.FS

// script is one operation: the name by which a server knows it, and its text.
type script struct{ sha, text string }

type scripts struct{ probe, open, rotate, end script }

func readScripts() (all scripts, err error) {
	record, err := texts.ReadFile("record.lua")
	if err != nil {
		return all, fmt.Errorf("read the scripts: %w", err)
	}
	for name, s := range map[string]*script{"probe.lua": &all.probe, "open.lua": &all.open, "rotate.lua": &all.rotate, "end.lua": &all.end} {
		operation, err := texts.ReadFile(name)
		if err != nil {
			return all, fmt.Errorf("read the scripts: %w", err)
		}
		s.text = string(record) + string(operation)
		sum := sha1.Sum([]byte(s.text)) //nolint:gosec // how Redis names scripts
		s.sha = hex.EncodeToString(sum[:])
	}
	return all, nil
}
