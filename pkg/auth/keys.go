package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// MinSecretLen is the shortest secret that a key may have, in bytes.
const MinSecretLen = 16

// Key is a static API key as the configuration gives it.
type Key struct {
	// Name is the subject that requests with this key act as.
	Name string `yaml:"name"`
	// SHA256 is the secret's SHA-256 in hex, so that the configuration needn't hold the secret: the key is the secret, at
	// least 16 bytes. One of SHA256 and Secret is set.
	SHA256 string `yaml:"sha256"`
	Secret string `yaml:"secret"`
	// Read, Write and Drop are patterns of feeds.
	Read  []string `yaml:"read"`
	Write []string `yaml:"write"`
	Drop  []string `yaml:"drop"`
	// Admin lets the key use what is below /v1/admin/.
	Admin bool `yaml:"admin"`
}

// Keys authenticates static API keys. It is immutable.
type Keys struct {
	// byHash holds digests, so that a look-up's time says nothing about any secret.
	byHash map[[sha256.Size]byte]*Principal
}

var _ Authenticator = (*Keys)(nil)

// NewKeys checks the keys and joins everything that is wrong with them.
func NewKeys(keys []Key) (*Keys, error) {
	k := &Keys{byHash: make(map[[sha256.Size]byte]*Principal, len(keys))}
	var errs []error
	for i, key := range keys {
		principal, hash, err := key.parse()
		if err != nil {
			errs = append(errs, fmt.Errorf("keys[%d] (%s): %w", i, key.Name, err))
			continue
		}
		if _, twice := k.byHash[hash]; twice {
			errs = append(errs, fmt.Errorf("keys[%d] (%s): has the same secret as an earlier key", i, key.Name))
		}
		k.byHash[hash] = principal
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return k, nil
}

// Authenticate gives the principal of the key, or ErrInvalid.
func (k *Keys) Authenticate(_ context.Context, token string) (*Principal, error) {
	if p, ok := k.byHash[sha256.Sum256([]byte(token))]; ok {
		return p, nil
	}
	return nil, Refuse(UnknownToken)
}

// Len is the number of keys.
func (k *Keys) Len() int { return len(k.byHash) }

func (key Key) parse() (*Principal, [sha256.Size]byte, error) {
	var errs []error
	if key.Name == "" {
		errs = append(errs, errors.New("has no name"))
	}
	hash, err := key.hash()
	if err != nil {
		errs = append(errs, err)
	}
	p, err := NewPrincipal(key.Name, Scopes{Read: key.Read, Write: key.Write, Drop: key.Drop})
	if err != nil {
		errs = append(errs, err)
	}
	p.Admin = key.Admin
	return p, hash, errors.Join(errs...)
}

func (key Key) hash() (hash [sha256.Size]byte, err error) {
	switch {
	case (key.SHA256 == "") == (key.Secret == ""):
		return hash, errors.New("needs one of sha256 and secret")
	case key.Secret != "":
		if len(key.Secret) < MinSecretLen {
			return hash, fmt.Errorf("the secret is %d bytes long; allowed: %d or more", len(key.Secret), MinSecretLen)
		}
		return sha256.Sum256([]byte(key.Secret)), nil
	}
	b, err := hex.DecodeString(key.SHA256)
	if err != nil || len(b) != sha256.Size {
		return hash, errors.New("sha256 is not 64 hex digits")
	}
	return [sha256.Size]byte(b), nil
}
