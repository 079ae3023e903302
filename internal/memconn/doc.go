// Package memconn provides network connections in memory.
//
// [Pipe] returns the two ends of a connection; a [Listener] is a [net.Listener]
// whose connections come from [Listener.Dial], so that a server such as
// net/http's can run without a port.
//
// Unlike [net.Pipe], connections are buffered, at 256 KiB in each direction, so
// both ends may write first, as SSH does; and callers choose the addresses of
// both ends. Deadlines and half-close work as on a TCP connection.
//
// All waiting is on condition variables, channels and timers, so connections
// can be used inside a testing/synctest bubble.
package memconn
