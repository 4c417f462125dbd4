package main

import (
	"context"
	"fmt"
)

// checkCertificates looks at the files of the listeners' certificates. There is nothing to say of plain HTTP.
func (d *doctor) checkCertificates(context.Context) (found []finding) {
	const check = "certificate"
	of, err := openCertificates(d.cfg)
	if err != nil {
		return []finding{failed(check, err)}
	}
	c := certificates{of: of}
	for _, listener := range c.each() {
		name, file := check, d.cfg.TLS.Cert
		if listener == managementListener {
			name, file = fmt.Sprintf("%s %s", listener, check), d.cfg.TLS.AdminCert
		}
		if warning := of[listener].Warning(); warning != "" {
			seen, remedy := halves(warning)
			found = append(found, risky(name, remedy, "%s", seen))
			continue
		}
		found = append(found, fine(name, "the one in %s is good until %s", file, stamp(of[listener].NotAfter())))
	}
	return found
}
