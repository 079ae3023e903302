//go:build !linux

package sshmachine

import "net"

// acknowledge does nothing: other systems cannot be told.
func acknowledge(net.Conn) {}
