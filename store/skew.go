package store

import "time"

// Skew returns by how much another clock is ahead of ours, negative when it is behind. now is ours, and ask reads the other
// one, over whatever way there is: half of that time is taken for the answer's way back, and of three readings the fastest
// counts. An error of ask is returned as it is.
func Skew(now func() time.Time, ask func() (time.Time, error)) (time.Duration, error) {
	const readings = 3
	var ahead, fastest time.Duration
	for i := range readings {
		begun := now()
		theirs, err := ask()
		if err != nil {
			return 0, err
		}
		ended := now()
		if took := ended.Sub(begun); i == 0 || took < fastest {
			fastest, ahead = took, theirs.Sub(begun.Add(took/2))
		}
	}
	return ahead, nil
}
