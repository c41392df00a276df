//go:build !unix

package front

func isBusy(error) bool { return false }
