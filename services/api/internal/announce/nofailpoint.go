//go:build !failpoint

package announce

func beforePublish() {}
