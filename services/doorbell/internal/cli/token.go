package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/doorbell-sync/doorbell/pkg/auth/jwtauth"
	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/devkey"
)

func newToken() *cobra.Command {
	var grant jwtauth.Grant
	var keyID string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a signed token for development",
		Long: "Makes a token with the configuration's first key that can sign (a secret, or a private key), or with the one that\n" +
			"dev keeps in its data folder. In production, the application's own server makes tokens.",
		Args: cobra.NoArgs,
	}
	load := command.Flags(cmd, true)
	flags := cmd.Flags()
	flags.StringVar(&grant.Subject, "sub", "", "whose token it is")
	flags.StringArrayVar(&grant.Scopes.Read, "read", nil, "a pattern of feeds that it may read: a feed, room:*, or *; again for more")
	flags.StringArrayVar(&grant.Scopes.Write, "write", nil, "likewise, write")
	flags.StringArrayVar(&grant.Scopes.Drop, "drop", nil, "likewise, drop")
	flags.DurationVar(&grant.TTL, "ttl", time.Hour, "how long it holds")
	flags.StringVar(&keyID, "key-id", "", "the id of the key to sign with, where there are several")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if err != nil {
			return command.Usage(err)
		}
		key, err := signer(c, keyID)
		if err != nil {
			return command.Usage(err)
		}
		grant.Issuer = c.Tokens.Issuer
		if len(c.Tokens.Audience) > 0 {
			grant.Audience = c.Tokens.Audience[:1]
		}
		if grant.Subject == "" {
			return command.Usage(errors.New("--sub is missing: whose token is it to be?"))
		}
		token, err := jwtauth.Sign(key, grant)
		if err != nil {
			return command.Usage(err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
		return err
	}
	return cmd
}

// signer is the first key that can sign, of that id if it is given.
func signer(c config.Config, id string) (jwtauth.Key, error) {
	if !c.Tokens.Enabled() {
		key, err := devkey.Read(c.Data)
		if errors.Is(err, fs.ErrNotExist) {
			return jwtauth.Key{}, fmt.Errorf("there is no key: neither tokens.keys in the configuration (--config), "+
				"nor that of dev in %q (--data)", c.Data)
		}
		if err != nil {
			return jwtauth.Key{}, err
		}
		c.Tokens.Keys = []config.TokenKey{key}
	}
	opt, err := c.Tokens.Options()
	if err == nil {
		err = jwtauth.CheckKeys(opt.Keys)
	}
	if err != nil {
		return jwtauth.Key{}, err
	}
	for _, key := range opt.Keys {
		if (id == "" || key.ID == id) && key.CanSign() {
			return key, nil
		}
	}
	return jwtauth.Key{}, errors.New("no key of the configuration can sign: that takes a secret or a private key " +
		"(and the id, if --key-id is given)")
}
