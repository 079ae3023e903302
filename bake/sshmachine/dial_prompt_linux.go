//go:build linux

package sshmachine

import (
	"net"
	"syscall"
)

// acknowledge makes the kernel acknowledge what has arrived and what arrives next, unless
// conn is not of the network.
func acknowledge(conn net.Conn) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) // not TCP
	})
}
