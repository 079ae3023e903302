//go:build linux || darwin || freebsd

package ebsdirect

import "golang.org/x/sys/unix"

// allocate returns memory outside the heap, which is invalid after release.
func allocate(size int) (memory []byte, release func()) {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, size), func() {}
	}
	return memory, func() { _ = unix.Munmap(memory) } // fails only for memory that is not mapped
}
