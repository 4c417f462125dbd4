package bench_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	callers    = 64 // who sign in, closed loop
	refreshing = 8
	tenfold    = 10
	warm       = 3 * time.Second // of each phase, before it counts; but not where it is told how the server recovers
	againName  = "A again, at once"
)

// BenchmarkOverload has 256 customers with bcrypt cost 10 and correct passwords sign in and refresh, in phases: A sign-ins
// alone, B refreshes alone, C both, D as C with ten times as many sign-ins as A could do, A again a second later, and C and B again.
func BenchmarkOverload(b *testing.B) {
	customers, file := people(b, 256, 10)
	fmt.Printf("%s, %d processors, %s; time of each phase %s, of D %s\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), phaseTime(), floodTime())
	b.Run("glueauth", func(b *testing.B) { overload(b, glueauth(b, customers, file)).judge(b) })
	b.Run("go-oauth2", func(b *testing.B) { overload(b, stock(b, customers, file)) })
}

// phaseTime and floodTime are short where BENCH_SHORT says so: for trying it out.
func phaseTime() time.Duration { return shorter(15 * time.Second) }
func floodTime() time.Duration { return shorter(60 * time.Second) }

func shorter(d time.Duration) time.Duration {
	if os.Getenv("BENCH_SHORT") != "" {
		return d / 3
	}
	return d
}

// phase is what was measured in one.
type phase struct {
	name               string
	signIns, refreshes figures
	server, others     float64 // processors in use, by the server and by all else
	early, late        float64 // MiB resident after ten seconds (or half the time) and at the end
}

// phases are those of one server. Where a machine gets slower or faster meanwhile, D has B and C on both sides.
type phases struct{ a, b, c, d, againA, againC, againB phase }

func overload(b *testing.B, r running) phases {
	b.Helper()
	tokens, err := r.newRefreshers(refreshing)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Printf("%s, which keeps its sessions in %s\n", b.Name(), r.store)
	fmt.Println("phase                   sign-ins/s  p50 ms  p99 ms | refused/s  p99 ms | lost/s | refreshes/s  p50 ms  p99 ms | cpu  others | MiB")
	var p phases
	p.a = r.phase(b, "A sign-ins", phaseTime(), callers, 0, nil)
	p.b = r.phase(b, "B refreshes", phaseTime(), 0, 0, tokens)
	p.c = r.phase(b, "C both", phaseTime(), callers, 0, tokens)
	p.d = r.phase(b, "D sign-ins x 10, both", floodTime(), 0, tenfold*p.a.signIns.good, tokens)
	time.Sleep(time.Second)
	p.againA = r.phase(b, againName, phaseTime(), callers, 0, nil)
	p.againC = r.phase(b, "C again", phaseTime(), callers, 0, tokens)
	p.againB = r.phase(b, "B again", phaseTime(), 0, 0, tokens)
	return p
}

// phase runs one: sign-ins in a closed loop of so many clients, or at a rate; and refreshes, unless tokens is nil.
func (r running) phase(b *testing.B, name string, length time.Duration, clients int, rate float64, tokens *refreshers) phase {
	b.Helper()
	lead := warm
	if name == againName {
		lead = 0
	}
	ctx, stop := during(b, lead+length)
	defer stop()
	signIns, refreshes := newTally(time.Now().Add(lead), length), newTally(time.Now().Add(lead), length)
	var all sync.WaitGroup
	if rate > 0 {
		all.Go(func() { r.signInOpen(ctx, rate, signIns) })
	} else {
		all.Go(func() { r.signInClosed(ctx, clients, signIns) })
	}
	if tokens != nil {
		all.Go(func() { tokens.run(ctx, refreshes) })
	}
	time.Sleep(lead)
	own, whole := spent(r.pid)
	time.Sleep(min(10*time.Second, length/2))
	p := phase{name: name, early: resident(r.pid)}
	<-ctx.Done()
	ownEnd, wholeEnd := spent(r.pid)
	p.late = resident(r.pid)
	p.server = (ownEnd - own).Seconds() / length.Seconds()
	p.others = (wholeEnd - whole - (ownEnd - own)).Seconds() / length.Seconds()
	all.Wait()
	p.signIns, p.refreshes = signIns.figures(), refreshes.figures()
	p.print()
	return p
}

func (p phase) print() {
	s, r := p.signIns, p.refreshes
	fmt.Printf("%-22s %11.1f %7s %7s | %9.1f %7s | %6.1f | %11.1f %7s %7s | %.2f  %6.2f | %.1f then %.1f\n", p.name, s.good, ms(s.half), ms(s.most), s.refused, ms(s.refusedMost),
		s.failed+s.wrong+r.failed+r.wrong+r.refused, r.good, ms(r.half), ms(r.most), p.server, p.others, p.early, p.late)
}

func ms(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond))
}

// judge compares the phases with what is demanded.
func (p phases) judge(b *testing.B) {
	b.Helper()
	fmt.Println(strings.Repeat("-", 60))
	check := func(what string, got float64, good bool, want string) {
		verdict := "met"
		if !good {
			verdict = "MISSED"
			b.Errorf("%s is %.2f, want %s", what, got, want)
		}
		fmt.Printf("%-44s %7.2f  %-9s %s\n", what, got, want, verdict)
	}
	atLeast := func(what string, got, want float64) { check(what, got, got >= want, fmt.Sprintf(">= %.2f", want)) }
	below := func(what string, got, want float64) { check(what, got, got < want, fmt.Sprintf("< %g", want)) }
	signIns := func(a, b phase) float64 { return p.d.signIns.good / (a.signIns.good + b.signIns.good) * 2 }
	refreshes := func(a, b phase) float64 { return p.d.refreshes.good / (a.refreshes.good + b.refreshes.good) * 2 }
	atLeast("sign-ins D / C", signIns(p.c, p.againC), 0.9)
	atLeast("refreshes D / C", refreshes(p.c, p.againC), 0.9)
	atLeast("D: sign-ins / A + refreshes / B", signIns(p.a, p.againA)+refreshes(p.b, p.againB), 0.85)
	below("D: refresh p99, ms", p.d.refreshes.most.Seconds()*1000, 60)
	below("D: refusal p99, ms", p.d.signIns.refusedMost.Seconds()*1000, 50)
	below("D: memory, end / after 10 s", p.d.late/p.d.early, 1.1)
	atLeast("A again / A", p.againA.signIns.good/p.a.signIns.good, 0.95)
}
