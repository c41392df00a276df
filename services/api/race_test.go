//go:build race

package api_test

// raced: the race detector makes everything ten times slower.
const raced = true
