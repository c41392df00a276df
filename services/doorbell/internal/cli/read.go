package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"
)

func newGet() *cobra.Command {
	var r remote
	return r.command(&cobra.Command{
		Use:   "get FEED",
		Short: "Print a feed's items, one JSON line each, oldest change first",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := r.client()
			if err != nil {
				return err
			}
			state, err := client.Load(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			items := slices.SortedFunc(maps.Values(state.Items), func(a, b doorbell.Change) int { return cmp.Compare(a.Seq, b.Seq) })
			for _, item := range items {
				if err := printLine(cmd.OutOrStdout(), changeLine(item)); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func newWatch() *cobra.Command {
	var r remote
	var since string
	cmd := r.command(&cobra.Command{
		Use:   "watch FEED",
		Short: "Print a feed's items, then each change as it comes, one JSON line each",
		Long: "Prints each change of a feed as a line of JSON: its key, its seq, and its value or \"deleted\". Lines with\n" +
			"\"reset\" or \"trimmed\" (a seq) say that everything, or everything up to that seq, is gone. A line with \"cursor\" ends\n" +
			"each step: hand it to --since to go on from there.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := r.client()
			if err != nil {
				return err
			}
			follow := client.Follow(cmd.Context(), args[0], doorbell.FollowOptions{Since: since, OnStatus: func(s doorbell.Status) {
				if s.Err != nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v; trying on\n", s.Mode, explain(s.Err))
				} else {
					fmt.Fprintln(cmd.ErrOrStderr(), s.Mode)
				}
			}})
			for event, err := range follow {
				if err != nil {
					return err
				}
				if err := printLine(cmd.OutOrStdout(), eventLine(event)); err != nil {
					return err
				}
			}
			return nil
		},
	})
	cmd.Flags().StringVar(&since, "since", "", "the cursor to go on from; none prints the feed's items first")
	return cmd
}

// line is one line of output. All of its members are optional.
type line struct {
	Key     string          `json:"key,omitempty"`
	Seq     int64           `json:"seq,omitempty"`
	Value   json.RawMessage `json:"value,omitempty"`
	Deleted bool            `json:"deleted,omitempty"`
	Reset   bool            `json:"reset,omitempty"`
	Trimmed int64           `json:"trimmed,omitempty"`
	Cursor  *string         `json:"cursor,omitempty"`
}

func changeLine(c doorbell.Change) line {
	return line{Key: c.Key, Seq: c.Seq, Value: c.Value, Deleted: c.Deleted}
}

func eventLine(e doorbell.Event) line {
	switch e.Kind {
	case doorbell.Changed:
		return changeLine(e.Change)
	case doorbell.Reset:
		return line{Reset: true}
	case doorbell.Trimmed:
		return line{Trimmed: e.Trimmed}
	default: // caught up
		return line{Cursor: &e.Cursor}
	}
}

// printLine prints l on one line, whatever white space its value has.
func printLine(w io.Writer, l line) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
