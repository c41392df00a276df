// Package devkey keeps the secret that tokens for development are signed with: where no key for tokens is configured, dev makes
// one in its data folder, and `doorbell token` on the same machine finds it there.
package devkey

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/doorbell-sync/doorbell/pkg/config"
)

// file is the secret's name in the data folder.
const file = "token.secret"

// Ensure gives the key of a data folder that is there; it makes one if there is none, which nobody but its owner may read.
func Ensure(folder string) (config.TokenKey, error) {
	key, err := Read(folder)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	secret := rand.Text() + rand.Text()
	f, err := os.OpenFile(filepath.Join(folder, file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) { // another one was quicker
		return Read(folder)
	}
	if err != nil {
		return config.TokenKey{}, fmt.Errorf("keep the secret of tokens: %w", err)
	}
	_, err = f.WriteString(secret + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return config.TokenKey{}, fmt.Errorf("keep the secret of tokens: %w", err)
	}
	return keyOf(secret), nil
}

// Read gives the key of a data folder; the error is fs.ErrNotExist when there is none.
func Read(folder string) (config.TokenKey, error) {
	text, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		return config.TokenKey{}, fmt.Errorf("read the secret of tokens: %w", err)
	}
	return keyOf(string(bytes.TrimSpace(text))), nil
}

func keyOf(secret string) config.TokenKey {
	return config.TokenKey{ID: "dev", Algorithm: "HS256", Secret: secret}
}
