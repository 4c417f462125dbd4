package config

// nearest returns the name with the smallest edit distance to got, the first of equals.
func nearest(got string, names []string) string {
	best, least := "", -1
	for _, name := range names {
		if d := distance(got, name); least < 0 || d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two names: the fewest insertions, deletions and replacements of a byte. Of an
// endless name it looks at the start only.
func distance(a, b string) int {
	const enough = 100
	a, b = a[:min(len(a), enough)], b[:min(len(b), enough)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
