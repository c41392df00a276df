//go:build linux

// Package herd measures what `doorbell bench herd` measures: a crowd that is told of a change by WebSocket and pulls it through a
// cache at once. How often is the origin asked, how soon has everybody applied it, and does everybody have what was written?
package herd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/stage"
)

// Options are what the bench is told.
type Options struct {
	// Only are the scenarios to run; none: all.
	Only []string
	// Caches are what stands in front: those of stage.Caches, or "none".
	Caches []string
	// Clients is how many there are in a crowd.
	Clients int
	// Changes is how many are made.
	Changes int
	// Deployments is the folder with the caches' configurations.
	Deployments string
	// Cache, if not "", is a cache of one's own at host:port, whose origin is to be OriginListen.
	Cache, OriginListen string
	// SignalInterval is the feed's: at most one signal in so long. 0: each change is signalled.
	SignalInterval time.Duration
	// Rest is how long the REST-only clients are compared.
	Rest time.Duration
}

// Defaults are the project's own figures.
func Defaults() Options {
	return Options{Caches: stage.Caches(), Clients: 2000, Changes: 100, Deployments: "deployments", Rest: 90 * time.Second}
}

// scenario is a part of the bench that can be run alone.
type scenario struct {
	name, what string
	items      int // of the feed, at first
	rate       int // changes a second
	late       int // one client in so many is delayed
	part       int // of Options.Clients, one in so many
	origin     float64
	p99        float64 // ms; 0: none is set
}

func scenarios() []scenario {
	return []scenario{
		{"small", "a small feed, 5 changes a second", 20, 5, 0, 1, 1.1, 0},
		{"small-late", "a small feed, 20 changes a second, a fifth of the clients 50 to 500 ms late", 20, 20, 5, 1, 1.5, 0},
		{"large", "a feed of 20,000 items, 5 changes a second", 20_000, 5, 0, 1, 1.1, 0},
		{"large-late", "a feed of 20,000 items, 20 changes a second, a fifth of the clients 50 to 500 ms late", 20_000, 20, 5, 1, 1.5, 0},
		{"few", "a tenth of the clients, a small feed, 5 changes a second", 20, 5, 0, 10, 1.1, 50},
	}
}

// restOnly names the scenario of clients without signals.
const restOnly = "rest-only"

// Names are the scenarios' names.
func Names() []string {
	var all []string
	for _, s := range scenarios() {
		all = append(all, s.name)
	}
	return append(all, restOnly)
}

// Validate joins all that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	for _, name := range o.Only {
		if !slices.Contains(Names(), name) {
			errs = append(errs, fmt.Errorf("--only has %q; allowed: %s", name, strings.Join(Names(), ", ")))
		}
	}
	allowed := append(stage.Caches(), "none")
	for _, name := range o.Caches {
		if !slices.Contains(allowed, name) {
			errs = append(errs, fmt.Errorf("--caches has %q; allowed: %s", name, strings.Join(allowed, ", ")))
		}
	}
	if o.Clients < 10 || o.Clients > 8000 {
		errs = append(errs, fmt.Errorf("--clients is %d; allowed: 10 to 8000, for each needs two descriptors", o.Clients))
	}
	if o.Changes < 1 || o.Changes > 10_000 {
		errs = append(errs, fmt.Errorf("--changes is %d; allowed: 1 to 10000", o.Changes))
	}
	if (o.Cache == "") != (o.OriginListen == "") {
		errs = append(errs, errors.New("--cache and --origin-listen go together: a cache, and where it finds its origin"))
	}
	if o.SignalInterval < 0 || o.SignalInterval > time.Minute {
		errs = append(errs, fmt.Errorf("--signal-interval is %s; allowed: 0 to 1m", o.SignalInterval))
	}
	if o.Rest < 5*time.Second || o.Rest > 10*time.Minute {
		errs = append(errs, fmt.Errorf("--rest-for is %s; allowed: 5s to 10m", o.Rest))
	}
	return errors.Join(errs...)
}

// bench is one run.
type bench struct {
	o        Options
	progress io.Writer
}

// Run runs the scenarios one after the other and prints each as it is done.
func Run(ctx context.Context, out, progress io.Writer, r *report.Report, o Options) error {
	b := &bench{o, progress}
	var errs []error
	run := func(section *report.Section, limit time.Duration, do func(context.Context, testkit.TB) error) {
		if ctx.Err() != nil {
			return
		}
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if err := testkit.Run(func(t testkit.TB) error { return do(limited, t) }); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", section.Name, err))
			section.Notef("could not be measured to the end: %.400s", err)
		}
	}
	wanted := func(name string) bool { return len(o.Only) == 0 || slices.Contains(o.Only, name) }
	caches := o.Caches
	if o.Cache != "" {
		caches = []string{o.Cache}
	}
	for _, s := range scenarios() {
		if !wanted(s.name) {
			continue
		}
		section := r.Section(s.name, fmt.Sprintf("%s; %d clients, %d changes", s.what, o.Clients/s.part, o.Changes))
		for _, cache := range caches {
			b.sayf("%s: %s", s.name, cache)
			run(section, 5*time.Minute, func(ctx context.Context, t testkit.TB) error { return b.crowd(ctx, section, t, s, cache) })
		}
		section.Print(out)
	}
	if wanted(restOnly) {
		section := r.Section(restOnly,
			fmt.Sprintf("clients that only poll, and one that is told; changes at random moments for %s", o.Rest))
		b.sayf(restOnly)
		run(section, o.Rest+4*time.Minute, func(ctx context.Context, t testkit.TB) error { return b.pollers(ctx, section, t) })
		section.Print(out)
	}
	return errors.Join(append(errs, r.Failed(), ctx.Err())...)
}

func (b *bench) sayf(format string, args ...any) {
	fmt.Fprintf(b.progress, "… "+format+"\n", args...)
}

// Heading fills in what a report of this bench says of the machine.
func Heading() *report.Report {
	return &report.Report{Bench: "herd", Began: time.Now(), Machine: stage.Machine(), Versions: []string{
		"nginx " + stage.PackageVersion("nginx") + ", Varnish " + stage.PackageVersion("varnish"),
	}}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
