package storm_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is what a storm led to.
type report struct {
	store          string
	size           settings
	took           time.Duration
	faults         []string
	tally          *tally
	gateway        *gateway
	limited        []string
	falseSignOuts  int
	uncaughtThefts int
}

func newReport(store string, s settings, w *world, faults []string, took time.Duration, all []traits) *report {
	r := &report{store: store, size: s, took: took, faults: faults, tally: &w.tally, gateway: w.gateway}
	for _, t := range all {
		if t.limit && !slices.Contains(r.limited, t.population) {
			r.limited = append(r.limited, t.population)
		}
	}
	r.falseSignOuts = r.sum("false sign-outs")
	r.uncaughtThefts = r.sum("thefts, UNCAUGHT")
	return r
}

// sum is over the normal populations.
func (r *report) sum(what string) int {
	n := 0
	for _, population := range []string{oneStorage, withKeys, inMemory} {
		n += r.tally.get(population + "|" + what)
	}
	return n
}

// row is one line of the outcome table. Stores side by side share the order of the sections.
type row struct {
	section     int
	what, value string
}

func (r *report) rows() []row {
	var all []row
	section := 0
	add := func(what string, value any) { all = append(all, row{section, what, fmt.Sprint(value)}) }
	add("clients × tabs, days", fmt.Sprintf("%d × %d, %d", r.size.clients, tabs, r.size.days))
	add("**false sign-outs**", fmt.Sprintf("**%d**", r.falseSignOuts))
	add("**uncaught thefts**", fmt.Sprintf("**%d**", r.uncaughtThefts))
	add("**failed validations** at a gateway that keeps the key set", fmt.Sprintf("**%d** of %d", r.gateway.failed, r.gateway.checked))
	add("refreshes by owners", r.sum("refreshes"))
	for _, when := range []string{"at once", "within a minute", "hours later", "days later"} {
		add("lost answers, asked again "+when, r.sum("lost answers, asked again "+when))
	}
	for _, what := range []string{"late answers", "not served", "sign-ins", "sign-outs after a theft", "refused, another copy was good", "thefts"} {
		add(what, r.sum(what))
	}
	for _, what := range []string{"ended at a use by the thief", "ended at a use by the owner", "dead after the owner's refreshes", "came too late", "never used"} {
		add("thefts, "+what, r.sum("thefts, "+what))
	}
	section++
	for _, name := range r.tally.names() {
		if !strings.Contains(name, "|") {
			add("server: "+name, r.tally.get(name))
		}
	}
	section++
	for _, f := range r.faults {
		add("fault: "+f, 1)
	}
	section++
	for _, population := range r.limited {
		add("known limit: "+population, r.limit(population))
	}
	section++
	add("seed", r.size.seed)
	add("duration", r.took.Round(time.Second))
	add("machine and date", fmt.Sprintf("%d cores, %s, %s, %s",
		runtime.NumCPU(), runtime.GOARCH, runtime.Version(), time.Now().UTC().Format(time.DateOnly)))
	return all
}

// limit says what became of a known limit: of thieves, or of honest clients.
func (r *report) limit(population string) string {
	of := func(what string) int { return r.tally.get(population + "|" + what) }
	if thefts := of("thefts") - of("thefts, came too late") - of("thefts, never used"); thefts > 0 {
		return fmt.Sprintf("%d of %d thefts uncaught", of("thefts, UNCAUGHT"), thefts)
	}
	return fmt.Sprintf("%d of %d sessions ended", of("false sign-outs"), of("sign-ins"))
}

// table is the outcome of storms side by side.
func table(reports ...*report) string {
	reports = slices.DeleteFunc(reports, func(r *report) bool { return r == nil })
	var b strings.Builder
	var order []row
	values := map[string][]string{}
	b.WriteString("| |")
	for i, r := range reports {
		fmt.Fprintf(&b, " %s |", r.store)
		for _, line := range r.rows() {
			if values[line.what] == nil {
				values[line.what] = slices.Repeat([]string{"–"}, len(reports))
				order = append(order, line)
			}
			values[line.what][i] = line.value
		}
	}
	slices.SortStableFunc(order, func(x, y row) int { return x.section - y.section })
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(reports)) + "\n")
	for _, line := range order {
		fmt.Fprintf(&b, "| %s | %s |\n", line.what, strings.Join(values[line.what], " | "))
	}
	return b.String()
}
