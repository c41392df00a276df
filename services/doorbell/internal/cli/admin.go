package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/doorbell-sync/doorbell/pkg/command"
)

// adminTimeout is how long an operator's request may take.
const adminTimeout = 15 * time.Second

// maxAnswer is the largest answer that is read, in bytes.
const maxAnswer = 16 << 20

func newRevoke() *cobra.Command {
	var r remote
	var id, subject, before string
	var ttl time.Duration
	cmd := r.command(&cobra.Command{
		Use:   "revoke (--id JTI | --subject SUBJECT)",
		Short: "Take back a token, or all of a subject's that were made so far; needs an admin key",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case id == "" && subject == "":
				return command.Usage(errors.New("what is to be taken back? Give --id for one token, or --subject for all of a subject's"))
			case id != "" && subject != "":
				return command.Usage(errors.New("both --id and --subject are given; allowed: one of them"))
			case id != "" && before != "":
				return command.Usage(errors.New("--issued-before goes with --subject; an --id is one token's, whenever it was made"))
			}
			asked := map[string]string{"ttl": ttl.String()}
			if id != "" {
				asked["jti"] = id
			} else {
				asked["subject"] = subject
			}
			if before != "" {
				asked["issued_before"] = before
			}
			return r.admin(cmd, http.MethodPost, "revocations", asked)
		},
	})
	cmd.Flags().StringVar(&id, "id", "", "the token's jti")
	cmd.Flags().StringVar(&subject, "subject", "", "whose tokens")
	cmd.Flags().StringVar(&before, "issued-before", "", "those made before this time (RFC 3339) instead of now")
	cmd.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "how long to remember it: the lifetime of tokens or longer")
	return cmd
}

func newSessions() *cobra.Command {
	var r remote
	return r.command(&cobra.Command{
		Use:   "sessions SUBJECT",
		Short: "List a subject's connections on all gateways; needs an admin key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.admin(cmd, http.MethodGet, "subjects/"+url.PathEscape(args[0])+"/sessions", nil)
		},
	})
}

func newDisconnect() *cobra.Command {
	var r remote
	var forbid bool
	var reason string
	cmd := r.command(&cobra.Command{
		Use:   "disconnect SUBJECT",
		Short: "End a subject's connections on all gateways; needs an admin key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.admin(cmd, http.MethodPost, "subjects/"+url.PathEscape(args[0])+"/disconnect",
				map[string]any{"forbid": forbid, "reason": reason})
		},
	})
	cmd.Flags().BoolVar(&forbid, "forbid", false, "tell the clients not to come back (4003); revoke the tokens, too, to keep them out")
	cmd.Flags().StringVar(&reason, "reason", "", "what the clients are told")
	return cmd
}

func newRebalance() *cobra.Command {
	var r remote
	return r.command(&cobra.Command{
		Use:   "rebalance FRACTION",
		Short: "Have a part of all connections, such as 0.1, connect again; needs an admin key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.admin(cmd, http.MethodPost, "rebalance?fraction="+url.QueryEscape(args[0]), nil)
		},
	})
}

// admin makes one request below /v1/admin/ and prints the answer.
func (r *remote) admin(cmd *cobra.Command, method, path string, asked any) error {
	var body io.Reader
	if asked != nil {
		text, err := json.Marshal(asked)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(cmd.Context(), method, strings.TrimSuffix(r.url, "/")+"/v1/admin/"+path, body)
	if err != nil {
		return command.Usage(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key := r.secret(); key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := (&http.Client{Timeout: adminTimeout}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var p struct {
			Code   string `json:"code"`
			Detail string `json:"detail"`
		}
		_ = json.Unmarshal(text, &p) // what isn't ours has no detail
		err := fmt.Errorf("%s (%d %s)", printable(p.Detail), resp.StatusCode, printable(p.Code))
		if resp.StatusCode == http.StatusUnauthorized {
			err = fmt.Errorf("%w; --key or DOORBELL_KEY gives one", err)
		}
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), pretty.String())
	return err
}
