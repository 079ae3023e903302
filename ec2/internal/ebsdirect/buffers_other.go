//go:build !linux && !darwin && !freebsd

package ebsdirect

func allocate(size int) (memory []byte, release func()) { return make([]byte, size), func() {} }
