package jwtauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of keys.
const (
	// MinSecret is the shortest HS256 secret, in bytes: that of its digest.
	MinSecret = 32
	// minRSA is the shortest RSA modulus, in bits.
	minRSA = 2048
	// MaxKeyID is the longest id of a key, in bytes.
	MaxKeyID = 256
	// triesAtMost is how many keys of one id are tried.
	triesAtMost = 4
)

// algorithms are all that there are here.
var algorithms = []jose.SignatureAlgorithm{jose.HS256, jose.RS256, jose.ES256, jose.EdDSA}

// Key is a key that tokens may be signed with, as the configuration gives it.
type Key struct {
	// ID is what tokens name it by (kid). "": tokens that name none.
	ID string
	// Algorithm is the one that it is for: HS256, RS256, ES256 or EdDSA.
	Algorithm string
	// Secret is that of HS256, at least 32 bytes.
	Secret []byte
	// PEM holds the public key of the others, as "PUBLIC KEY", or the private one, as "PRIVATE KEY" (PKCS #8).
	PEM []byte
}

// key is one that tokens are verified with.
type key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	verifies  any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	signs     any // nil: it can't be signed with
}

// CheckKeys joins all that is wrong with keys.
func CheckKeys(keys []Key) error {
	_, err := parseKeys(keys)
	return err
}

func parseKeys(keys []Key) (keySet, error) {
	var set keySet
	var errs []error
	for i, key := range keys {
		k, err := key.parse()
		if err != nil {
			errs = append(errs, fmt.Errorf("tokens.keys[%d] (%s): %w", i, key.ID, err))
		}
		set = append(set, k)
	}
	return set, errors.Join(errs...)
}

// parse checks the key. Errors hold nothing of it.
func (k Key) parse() (key, error) {
	out := key{id: k.ID, algorithm: jose.SignatureAlgorithm(k.Algorithm)}
	if len(k.ID) > MaxKeyID {
		return out, fmt.Errorf("the id is %d bytes long; allowed: at most %d", len(k.ID), MaxKeyID)
	}
	switch {
	case !slices.Contains(algorithms, out.algorithm):
		return out, fmt.Errorf("the algorithm is %q; allowed: HS256, RS256, ES256, EdDSA", k.Algorithm)
	case out.algorithm == jose.HS256:
		if len(k.PEM) > 0 || len(k.Secret) < MinSecret {
			return out, fmt.Errorf("HS256 needs a secret of %d bytes or more, and no PEM; it has %d", MinSecret, len(k.Secret))
		}
		out.verifies, out.signs = k.Secret, k.Secret
		return out, nil
	case len(k.Secret) > 0 || len(k.PEM) == 0:
		return out, fmt.Errorf("%s needs a PEM, and no secret", k.Algorithm)
	}
	public, private, err := parsePEM(k.PEM)
	if err != nil {
		return out, err
	}
	out.verifies, out.signs = public, private
	if fits, why := fit(public); fits != out.algorithm {
		return out, fmt.Errorf("the PEM is %s; allowed: the key of %s", why, k.Algorithm)
	}
	return out, nil
}

// parsePEM gives the public key, and the private one if it is that.
func parsePEM(text []byte) (public, private any, err error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, nil, errors.New("it is no PEM")
	}
	switch block.Type {
	case "PUBLIC KEY":
		if public, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return nil, nil, errors.New("the PEM's public key can't be read")
		}
		return public, nil, nil
	case "PRIVATE KEY":
		if private, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
			return nil, nil, errors.New("the PEM's private key can't be read")
		}
		if signer, ok := private.(crypto.Signer); ok {
			return signer.Public(), private, nil
		}
	}
	return nil, nil, fmt.Errorf("the PEM is a %q; allowed: PUBLIC KEY, PRIVATE KEY", block.Type)
}

// fit is the algorithm that a public key is for, "" for none that is allowed, and what it is.
func fit(public any) (_ jose.SignatureAlgorithm, what string) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return "", fmt.Sprintf("an RSA key of %d bits, which is less than %d", k.N.BitLen(), minRSA)
		}
		return jose.RS256, "an RSA key"
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "", "an ECDSA key of another curve than P-256"
		}
		return jose.ES256, "an ECDSA key"
	case ed25519.PublicKey:
		return jose.EdDSA, "an Ed25519 key"
	}
	return "", "a key of another kind"
}

// keySet is keys in the order in which they are tried.
type keySet []key

// find gives the keys of that id and algorithm; known tells whether there are any of that id. A token that names no key
// may be of the only one of its algorithm.
func (s keySet) find(id string, algorithm jose.SignatureAlgorithm) (found []key, known bool) {
	var others []key
	for _, k := range s {
		if k.id == id {
			known = true
		}
		switch {
		case k.algorithm != algorithm:
		case k.id == id:
			found = append(found, k)
		case id == "":
			others = append(others, k)
		}
	}
	if len(found) == 0 && len(others) == 1 {
		return others, true
	}
	return found[:min(len(found), triesAtMost)], known
}
