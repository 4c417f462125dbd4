package redisstore

import (
	"crypto/sha1" //nolint:gosec // how Redis names scripts
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

//go:embed *.lua
var texts embed.FS

// script is one operation: the name by which a server knows it, and its text.
type script struct{ sha, text string }

type scripts struct{ probe, open, adopt, rotate, end, endAll, export, list, take, note, revoked, forget, known, guess, refund script }

func readScripts() (all scripts, err error) {
	if all.adopt, err = adoption(); err != nil {
		return all, err
	}
	for name, s := range map[string]*script{
		"note.lua": &all.note, "revoked.lua": &all.revoked, "forget.lua": &all.forget,
		"guess.lua": &all.guess, "refund.lua": &all.refund,
	} {
		text, err := texts.ReadFile(name)
		if err != nil {
			return all, fmt.Errorf("read the scripts: %w", err)
		}
		*s = named(string(text))
	}
	for name, s := range map[string]*script{
		"probe.lua": &all.probe, "open.lua": &all.open, "rotate.lua": &all.rotate, "end.lua": &all.end, "endall.lua": &all.endAll,
		"export.lua": &all.export, "list.lua": &all.list, "import.lua": &all.take, "known.lua": &all.known,
	} {
		if *s, err = operation(name); err != nil {
			return all, err
		}
	}
	return all, nil
}

// operation returns a script on the records, which begins with record.lua and then with these functions.
func operation(name string, functions ...string) (script, error) {
	record, recordErr := texts.ReadFile("record.lua")
	text, err := texts.ReadFile(name)
	if err := errors.Join(recordErr, err); err != nil {
		return script{}, fmt.Errorf("read the scripts: %w", err)
	}
	return named(string(record) + strings.Join(functions, "") + string(text)), nil
}

// adoption returns adopt.lua, in which rotate.lua is the function rotate.
func adoption() (script, error) {
	rotate, rotateErr := texts.ReadFile("rotate.lua")
	all, err := operation("adopt.lua", "local function rotate()\n"+string(rotate)+"end\n")
	if err := errors.Join(rotateErr, err); err != nil {
		return script{}, fmt.Errorf("read the scripts: %w", err)
	}
	return all, nil
}

// named gives a script the name by which servers know it.
func named(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // how Redis names scripts
	return script{sha: hex.EncodeToString(sum[:]), text: text}
}
