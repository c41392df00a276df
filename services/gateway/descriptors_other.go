//go:build !unix

package gateway

func descriptors() int { return unknownDescriptors }
