package jwtauth

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	cached, verified prometheus.Counter
	fetched, failed  prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	tokens := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doorbell_auth_tokens_total", Help: "Signed tokens that were looked at, by whether they had been verified before.",
	}, []string{"how"})
	fetches := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doorbell_auth_jwks_fetches_total", Help: "Fetches of the JWKS, by outcome.",
	}, []string{"outcome"})
	r.MustRegister(tokens, fetches)
	return &metrics{
		cached: tokens.WithLabelValues("cached"), verified: tokens.WithLabelValues("verified"),
		fetched: fetches.WithLabelValues("ok"), failed: fetches.WithLabelValues("failed"),
	}
}
