package main

import (
	"context"
	"fmt"
	"os"

	"github.com/glueauth/glueauth/config"
)

const secretFileRemedy = "take that right away (chmod 640), or mount the Kubernetes secret with defaultMode 0440"

// exposedFile is one that others can reach; its mode is octal.
type exposedFile struct{ path, mode string }

// exposed returns the files of secrets that every user of this machine can read or write. That is no mistake in a container,
// whose only user is the server's.
func exposed(cfg *config.Config) (found []exposedFile) {
	const others = 0o006
	for _, path := range cfg.SecretFiles {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&others != 0 {
			found = append(found, exposedFile{path, fmt.Sprintf("%04o", info.Mode().Perm())})
		}
	}
	return found
}

func (d *doctor) checkSecretFiles(context.Context) (found []finding) {
	const check = "secret file"
	for _, file := range exposed(d.cfg) {
		found = append(found, risky(check, secretFileRemedy, "every user of this machine can read or write %s (mode %s)", file.path, file.mode))
	}
	if len(found) == 0 && len(d.cfg.SecretFiles) > 0 {
		found = append(found, fine(check, "not every user of this machine can read or write one of the %d", len(d.cfg.SecretFiles)))
	}
	return found
}
