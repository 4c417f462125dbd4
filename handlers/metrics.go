package handlers

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/glueauth/glueauth/server"
)

// Metrics counts, in a registry of its own. Every label has a small closed set of values; none names a customer.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	events   *prometheus.CounterVec
	findings *prometheus.GaugeVec
	expiries *prometheus.GaugeVec
	late     prometheus.Gauge
}

// NewMetrics returns metrics at zero, those of the Go runtime, the process and the build among them.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "glueauth_http_request_duration_seconds",
			Help:    "Time from the request's header to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"route", "method", "status"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "glueauth_events_total",
			Help: "Outcomes of sign-ins, refreshes and sessions.",
		}, []string{"event", "cause"}),
		findings: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "glueauth_store_finding",
			Help: "1 while something about the session store can cost sessions although it works.",
		}, []string{"finding"}),
		expiries: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "glueauth_certificate_not_after_timestamp_seconds",
			Help: "When the certificate of a listener that speaks TLS expires.",
		}, []string{"listener"}),
		late: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "glueauth_revocations_late",
			Help: "1 while the session store does not say which sessions have ended.",
		}),
	}
	m.registry.MustRegister(m.requests, m.events, m.findings, m.expiries, m.late, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	for name, causes := range server.EventCauses() {
		for _, cause := range causes { // an alarm on what has never happened needs its zero
			m.events.WithLabelValues(string(name), cause)
		}
	}
	return m
}

// Finding sets whether something about the session store can cost sessions. The names are a small closed set.
func (m *Metrics) Finding(name string, there bool) { set(m.findings.WithLabelValues(name), there) }

// Late sets whether the session store does not say which sessions have ended.
func (m *Metrics) Late(late bool) { set(m.late, late) }

func set(g prometheus.Gauge, on bool) {
	value := 0.0
	if on {
		value = 1
	}
	g.Set(value)
}

// CertificateExpires sets when the certificate of a listener expires.
func (m *Metrics) CertificateExpires(listener string, at time.Time) {
	m.expiries.WithLabelValues(listener).Set(float64(at.Unix()))
}

// Connections adds the counts of a listener's connections: open ones, and those closed before their time, to let others in or at
// once.
func (m *Metrics) Connections(listener string, counts func() (open int, cut, refused uint64)) {
	labels := prometheus.Labels{"listener": listener}
	closed := func(how string, count func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "glueauth_connections_closed_total", ConstLabels: prometheus.Labels{"listener": listener, "how": how},
			Help: "Connections closed because there were too many: waiting ones to let others in (made_room), new ones at once (refused).",
		}, func() float64 { return float64(count()) })
	}
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "glueauth_connections", Help: "Open connections.", ConstLabels: labels},
			func() float64 { open, _, _ := counts(); return float64(open) }),
		closed("made_room", func() uint64 { _, cut, _ := counts(); return cut }),
		closed("refused", func() uint64 { _, _, refused := counts(); return refused }),
	)
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *Metrics) observe(r *http.Request, status int, took time.Duration) {
	m.requests.WithLabelValues(r.Pattern, methodLabel(r.Method), strconv.Itoa(status)).Observe(took.Seconds())
}

func (m *Metrics) event(e server.Event) {
	m.events.WithLabelValues(string(e.Name), e.Cause).Inc()
}

// methodLabel keeps strangers from making series at will.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return method
	default:
		return "other"
	}
}
