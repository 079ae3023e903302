//go:build !unix

package sandbox

import "os"

// tryRead blocks, since non-blocking reads are not available.
func tryRead(file *os.File, p []byte) (n int, ready bool, err error) {
	n, err = file.Read(p)
	return n, true, err
}

// tryWrite blocks, since non-blocking writes are not available.
func tryWrite(file *os.File, p []byte) (n int, ready bool, err error) {
	n, err = file.Write(p)
	return n, true, err
}
