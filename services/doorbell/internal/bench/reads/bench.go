//go:build linux

// Package reads measures what `doorbell bench reads` measures: answers of the API that it has at hand, against a bare Gin that
// answers with the same bytes from a variable, and requests that wait, against requests parked in a bare Gin.
package reads

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
	// For is how long each round of requests takes.
	For time.Duration
	// Requests is how many are made while queries at the database are counted.
	Requests int
	// Waiting is how many long polls wait at once.
	Waiting int
}

// Defaults are the project's own figures.
func Defaults() Options { return Options{For: 4 * time.Second, Requests: 100_000, Waiting: 10_000} }

// scenario is a part of the bench that can be run alone.
type scenario struct {
	name, what string
	limit      time.Duration
	run        func(*bench, context.Context, *report.Section, testkit.TB) error
}

func scenarios() []scenario {
	return []scenario{
		{"hot", "a feed of 2 KB, 64 connections that stay open: requests a second, median of 3", 5 * time.Minute, (*bench).hot},
		{"long-poll", "requests that wait for a change", 5 * time.Minute, (*bench).longPoll},
	}
}

// Names are the scenarios' names.
func Names() []string {
	var all []string
	for _, s := range scenarios() {
		all = append(all, s.name)
	}
	return all
}

// Validate joins all that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	for _, name := range o.Only {
		if !slices.Contains(Names(), name) {
			errs = append(errs, fmt.Errorf("--only has %q; allowed: %s", name, strings.Join(Names(), ", ")))
		}
	}
	if o.For < 100*time.Millisecond || o.For > time.Minute {
		errs = append(errs, fmt.Errorf("--for is %s; allowed: 100ms to 1m", o.For))
	}
	if o.Requests < 100 || o.Requests > 10_000_000 {
		errs = append(errs, fmt.Errorf("--requests is %d; allowed: 100 to 10000000", o.Requests))
	}
	if o.Waiting < 10 || o.Waiting > 18_000 {
		errs = append(errs, fmt.Errorf("--waiting is %d; allowed: 10 to 18000, for a process has descriptors for so many", o.Waiting))
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
	for _, s := range scenarios() {
		if len(o.Only) > 0 && !slices.Contains(o.Only, s.name) || ctx.Err() != nil {
			continue
		}
		section := r.Section(s.name, s.what)
		limited, cancel := context.WithTimeout(ctx, s.limit)
		if err := testkit.Run(func(t testkit.TB) error { return s.run(b, limited, section, t) }); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
			section.Notef("could not be measured to the end: %.300s", err)
		}
		cancel()
		section.Print(out)
	}
	return errors.Join(append(errs, r.Failed(), ctx.Err())...)
}

func (b *bench) sayf(format string, args ...any) {
	fmt.Fprintf(b.progress, "… "+format+"\n", args...)
}

// Heading fills in what a report of this bench says of the machine.
func Heading() *report.Report {
	return &report.Report{Bench: "reads", Began: time.Now(), Machine: stage.Machine()}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
