package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"
	"github.com/doorbell-sync/doorbell/pkg/command"
)

func newPut() *cobra.Command {
	var r remote
	return negatives(r.command(&cobra.Command{
		Use:   "put FEED KEY JSON",
		Short: "Put an item; JSON may be - for standard input",
		Args:  cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			value := []byte(args[2])
			if args[2] == "-" {
				var err error
				if value, err = io.ReadAll(cmd.InOrStdin()); err != nil {
					return err
				}
			}
			if !json.Valid(value) {
				return command.Usage(fmt.Errorf(`the value is not JSON: %.60q; a text needs quotes of its own: '"text"'`, value))
			}
			return r.write(cmd, func(ctx context.Context, c *doorbell.Client) (doorbell.Written, error) {
				return c.Put(ctx, args[0], args[1], value)
			})
		},
	}))
}

func newDelete() *cobra.Command {
	var r remote
	return negatives(r.command(&cobra.Command{
		Use:   "delete FEED KEY",
		Short: "Delete an item",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.write(cmd, func(ctx context.Context, c *doorbell.Client) (doorbell.Written, error) {
				return c.Delete(ctx, args[0], args[1])
			})
		},
	}))
}

func newTouch() *cobra.Command {
	var r remote
	return r.command(&cobra.Command{
		Use:   "touch FEED",
		Short: "Signal a feed's followers without changing an item",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.write(cmd, func(ctx context.Context, c *doorbell.Client) (doorbell.Written, error) {
				return c.Touch(ctx, args[0])
			})
		},
	})
}

// write makes one write and prints the feed's cursor after it.
func (r *remote) write(cmd *cobra.Command, do func(context.Context, *doorbell.Client) (doorbell.Written, error)) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	written, err := do(cmd.Context(), client)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), written.Cursor)
	return err
}
