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
	for name, s := range map[string]*script{
		"note.lua": &all.note, "revoked.lua": &all.revoked, "forget.lua": &all.forget, "guess.lua": &all.guess,
	} {
		if *s, err = composed("time.lua", name); err != nil {
			return all, err
		}
	}
	for name, s := range map[string]*script{
		"probe.lua": &all.probe, "open.lua": &all.open, "rotate.lua": &all.rotate, "end.lua": &all.end, "endall.lua": &all.endAll,
		"export.lua": &all.export, "list.lua": &all.list, "import.lua": &all.take, "known.lua": &all.known,
	} {
		if *s, err = composed("time.lua", "record.lua", name); err != nil {
			return all, err
		}
	}
	if all.refund, err = composed("refund.lua"); err != nil {
		return all, err
	}
	all.adopt, err = adoption()
	return all, err
}

// composed returns a script that is made of files.
func composed(names ...string) (script, error) {
	var all strings.Builder
	for _, name := range names {
		text, err := texts.ReadFile(name)
		if err != nil {
			return script{}, fmt.Errorf("read the scripts: %w", err)
		}
		all.Write(text)
	}
	return named(all.String()), nil
}

// adoption returns adopt.lua, in which rotate.lua is the function rotate.
func adoption() (script, error) {
	record, recordErr := composed("time.lua", "record.lua")
	rotate, rotateErr := composed("rotate.lua")
	adopt, adoptErr := composed("adopt.lua")
	return named(record.text + "local function rotate()\n" + rotate.text + "end\n" + adopt.text), errors.Join(recordErr, rotateErr, adoptErr)
}

// named gives a script the name by which servers know it.
func named(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // how Redis names scripts
	return script{sha: hex.EncodeToString(sum[:]), text: text}
}
