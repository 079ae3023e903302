//go:build !unix

package sandbox

import "os"

// readNow waits, where there is no way not to.
func readNow(file *os.File, p []byte) (n int, ready bool, err error) {
	n, err = file.Read(p)
	return n, true, err
}

// writeNow waits, where there is no way not to.
func writeNow(file *os.File, p []byte) (n int, ready bool, err error) {
	n, err = file.Write(p)
	return n, true, err
}
