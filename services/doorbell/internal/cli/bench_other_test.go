//go:build !linux

package cli

const benchNonsense = "bench works on Linux only"
