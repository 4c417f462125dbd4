package handlers_test

import (
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
)

const revocationsPath = "/.well-known/revocations"

// published opens a shop that publishes what has ended, to the second that its clock shows.
func published(tb testing.TB) (*shop, *server.Revocations) {
	tb.Helper()
	x := openShop(tb, setup{})
	r, err := server.NewRevocations(x.core, x.sessions)
	if err == nil {
		err = r.Follow(tb.Context())
	}
	if err != nil {
		tb.Fatal(err)
	}
	x.config.Revocations = r.Document
	public, err := handlers.Public(x.config)
	if err != nil {
		tb.Fatal(err)
	}
	x.address = x.listen(tb, public)
	return x, r
}

// end has n sessions in the store and ends them.
func (x *shop) end(tb testing.TB, n int) {
	tb.Helper()
	for i := range n {
		in := store.SignIn{
			Subject: store.Subject{Kind: store.SubjectCustomer, ID: int64(i)}, Client: "frontend", FreshEpoch: store.Epoch{1},
			Lifetime: time.Hour, MaxLife: time.Hour, MaxOpen: 1,
		}
		binary.BigEndian.PutUint64(in.Name[:], uint64(i+1)*0x9e3779b97f4a7c15)
		_, err := x.sessions.Open(context.WithoutCancel(tb.Context()), in)
		if err == nil {
			_, err = x.sessions.End(tb.Context(), store.Ending{Subject: in.Subject, Name: in.Name, Cause: store.CauseRevoked})
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func TestWhatHasEndedIsSentOnce(t *testing.T) {
	t.Parallel()
	x, r := published(t)
	first := x.do(t, http.MethodGet, revocationsPath, nil)
	head := [3]string{first.header.Get("Content-Type"), first.header.Get("Cache-Control"), first.header.Get("ETag")[:1]}
	if first.status != http.StatusOK || head != [3]string{"application/jwt", "no-cache", `"`} {
		t.Fatalf("%+v", first)
	}
	poll := func() answer {
		return x.do(t, http.MethodGet, revocationsPath, nil, "If-None-Match", first.header.Get("ETag"))
	}
	if same := poll(); same.status != http.StatusNotModified || same.body != "" {
		t.Errorf("nothing is new: %+v", same)
	}
	x.end(t, 1)
	if err := r.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if other := poll(); other.status != http.StatusOK || other.body == first.body {
		t.Errorf("something has ended: %+v", other)
	}
	x.clock.advance(3 * time.Second)
	for _, late := range []answer{poll(), x.do(t, http.MethodGet, revocationsPath, nil)} {
		if late.status != http.StatusServiceUnavailable || late.header.Get("Retry-After") == "" {
			t.Errorf("the store does not answer: %+v", late)
		}
	}
}

func TestWhatHasEndedIsNotPublishedUnasked(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	if a := x.do(t, http.MethodGet, revocationsPath, nil); a.status != http.StatusNotFound || !strings.Contains(a.body, "set revocations to true") {
		t.Errorf("%+v", a)
	}
}

// BenchmarkPoll compares, over HTTP, a poll that finds nothing new among ten thousand revocations with a whole answer of the key
// set, in turn, while the list is read twice a second.
func BenchmarkPoll(b *testing.B) {
	const ended = 10_000
	x, r := published(b)
	x.end(b, ended)
	if err := r.Follow(b.Context()); err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	ask := func(path, etag string, status int) string {
		request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+x.address+path, http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		if etag != "" {
			request.Header.Set("If-None-Match", etag)
		}
		response, err := client.Do(request)
		if err != nil {
			b.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != status {
			b.Fatalf("%s: %s %v", path, response.Status, err)
		}
		return response.Header.Get("ETag")
	}
	etag := ask(revocationsPath, "", http.StatusOK)
	var polls, keySets, read time.Duration
	followed := time.Now()
	for b.Loop() {
		begun := time.Now()
		if begun.Sub(followed) >= 500*time.Millisecond {
			if err := r.Follow(b.Context()); err != nil {
				b.Fatal(err)
			}
			followed = time.Now()
			read += followed.Sub(begun)
			begun = followed
		}
		ask(revocationsPath, etag, http.StatusNotModified)
		between := time.Now()
		ask("/.well-known/jwks.json", "", http.StatusOK)
		polls += between.Sub(begun)
		keySets += time.Since(between)
	}
	b.ReportMetric(float64(polls+read)/float64(keySets), "polls/jwks")
}
