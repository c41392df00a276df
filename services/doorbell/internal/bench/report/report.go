// Package report is what a bench found, as a table for people and as JSON for programs.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report is a whole run.
type Report struct {
	Bench    string     `json:"bench"`
	Began    time.Time  `json:"began"`
	Machine  string     `json:"machine"`
	Versions []string   `json:"versions,omitempty"`
	Sections []*Section `json:"sections"`
}

// Section is one scenario. Columns are what was measured side by side.
type Section struct {
	Name    string   `json:"name"`
	What    string   `json:"what"`
	Columns []string `json:"columns"`
	Rows    []*Row   `json:"rows"`
	Targets []Target `json:"targets,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	// Wrong is what must not be: connections that don't have the last write, clients that aren't right. It fails the run.
	Wrong []string `json:"wrong,omitempty"`
}

// Row is one figure of each column that has it.
type Row struct {
	Name   string             `json:"name"`
	Unit   string             `json:"unit"`
	Values map[string]float64 `json:"values"`
}

// Target is a figure that the project sets itself. To miss one is no failure of the run: machines differ.
type Target struct {
	Name string  `json:"name"`
	Got  float64 `json:"got"`
	Want float64 `json:"want"`
	Met  bool    `json:"met"`
}

// Section begins one.
func (r *Report) Section(name, what string) *Section {
	s := &Section{Name: name, What: what}
	r.Sections = append(r.Sections, s)
	return s
}

// Set notes a figure.
func (s *Section) Set(column, name, unit string, value float64) {
	if !slices.Contains(s.Columns, column) {
		s.Columns = append(s.Columns, column)
	}
	i := slices.IndexFunc(s.Rows, func(r *Row) bool { return r.Name == name })
	if i < 0 {
		i = len(s.Rows)
		s.Rows = append(s.Rows, &Row{Name: name, Unit: unit, Values: map[string]float64{}})
	}
	s.Rows[i].Values[column] = value
}

// Millis notes a duration in ms.
func (s *Section) Millis(column, name string, d time.Duration) {
	s.Set(column, name, "ms", float64(d)/float64(time.Millisecond))
}

// AtMost notes how a figure stands to its target.
func (s *Section) AtMost(name string, got, want float64) {
	s.Targets = append(s.Targets, Target{name, got, want, got <= want})
}

// AtLeast is AtMost the other way round.
func (s *Section) AtLeast(name string, got, want float64) {
	s.Targets = append(s.Targets, Target{name, got, want, got >= want})
}

// Notef adds a line for the reader.
func (s *Section) Notef(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// Failf notes what must not be.
func (s *Section) Failf(format string, args ...any) {
	s.Wrong = append(s.Wrong, fmt.Sprintf(format, args...))
}

// Heading prints how the run came about.
func (r *Report) Heading(w io.Writer) {
	fmt.Fprintf(w, "doorbell bench %s, %s\n%s\n", r.Bench, r.Began.UTC().Format(time.RFC3339), r.Machine)
	for _, v := range r.Versions {
		fmt.Fprintln(w, v)
	}
}

// Print prints a section as a table.
func (s *Section) Print(w io.Writer) {
	fmt.Fprintf(w, "\n== %s: %s\n\n", s.Name, s.What)
	wide := 20
	for _, r := range s.Rows {
		wide = max(wide, len(r.Name)+len(r.Unit)+2)
	}
	if len(s.Rows) > 0 {
		fmt.Fprintf(w, "  %-*s", wide, "")
		for _, c := range s.Columns {
			fmt.Fprintf(w, " %*s", width(c), c)
		}
		fmt.Fprintln(w)
	}
	for _, r := range s.Rows {
		name := r.Name
		if r.Unit != "" {
			name += ", " + r.Unit
		}
		fmt.Fprintf(w, "  %-*s", wide, name)
		for _, c := range s.Columns {
			text := "–"
			if value, ok := r.Values[c]; ok {
				text = figure(value)
			}
			fmt.Fprint(w, strings.Repeat(" ", max(0, width(c)+1-len([]rune(text)))), text)
		}
		fmt.Fprintln(w)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(w, "  %s\n", n)
	}
	for _, t := range s.Targets {
		word := "missed"
		if t.Met {
			word = "met"
		}
		fmt.Fprintf(w, "  target: %s: %s (%s; target %s)\n", t.Name, word, figure(t.Got), figure(t.Want))
	}
	for _, f := range s.Wrong {
		fmt.Fprintf(w, "  WRONG: %s\n", f)
	}
}

func width(column string) int { return max(len(column), 10) }

// figure has three digits that count, or all before the point.
func figure(v float64) string {
	digits := 0
	for scale := 100.0; digits < 4 && v > -scale && v < scale && v != 0; scale /= 10 {
		digits++
	}
	if v == float64(int64(v)) {
		digits = 0
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// Failed says what must not have been, nil: nothing.
func (r *Report) Failed() error {
	var wrong []string
	for _, s := range r.Sections {
		for _, w := range s.Wrong {
			wrong = append(wrong, s.Name+": "+w)
		}
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("wrong: %s", strings.Join(wrong, "; "))
}

// Save writes the report as JSON.
func (r *Report) Save(path string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

// Percentile is the value that p percent of them don't exceed; 0 of none. It sorts them.
func Percentile[T ~int64](values []T, p float64) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	i := int(float64(len(values))*p/100+0.999999) - 1
	return values[min(max(i, 0), len(values)-1)]
}
