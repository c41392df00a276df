//go:build unix

package main

import (
	"fmt"
	"io"
	"time"
)

// heading begins a section.
func heading(out io.Writer, name, text string) { fmt.Fprintf(out, "\n== %s: %s\n\n", name, text) }

// columns names those of rows.
func columns(out io.Writer) {
	fmt.Fprintf(out, "  %-40s %8s %8s %8s %8s\n", "in ms", "p50", "p90", "p99", "max")
}

func row(out io.Writer, name string, took []time.Duration) {
	fmt.Fprintf(out, "  %-40s %8s %8s %8s %8s\n", name,
		ms(percentile(took, 50)), ms(percentile(took, 90)), ms(percentile(took, 99)), ms(percentile(took, 100)))
}

// verdict says whether a target was met.
func verdict(out io.Writer, what string, target, got time.Duration) {
	word := "met"
	if got >= target {
		word = "missed"
	}
	fmt.Fprintf(out, "Target: %s below %s: %s (%s ms).\n", what, target, word, ms(got))
}
