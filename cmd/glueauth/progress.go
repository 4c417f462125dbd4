package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress tells how far a long command has come: as a bar on a terminal, else with a line for each tenth.
type progress struct {
	w     io.Writer
	bar   bool
	total int
	steps int // shown so far: percent of the bar, tenths in lines
}

func (p *progress) show(done int) {
	if p.total == 0 {
		return
	}
	percent := min(100, done*100/p.total) // the total may be an estimate
	steps := percent
	if !p.bar {
		steps = percent / 10
	}
	if steps <= p.steps {
		return
	}
	p.steps = steps
	if p.bar {
		_, _ = fmt.Fprintf(p.w, "\r[%-50s] %3d %%  %d of %d", strings.Repeat("#", percent/2), percent, done, p.total)
		return
	}
	_, _ = fmt.Fprintf(p.w, "%d of %d\n", done, p.total)
}

// end leaves the line of the bar.
func (p *progress) end() {
	if p.bar && p.steps > 0 {
		_, _ = fmt.Fprintln(p.w)
	}
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
