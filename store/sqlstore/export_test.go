package sqlstore

import "time"

// BePatient has look-ups wait for so long that a machine that stands still for a while is no fault.
func (s *Shop) BePatient() { s.patience = 30 * time.Second }
