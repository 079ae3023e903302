// Package memconn provides network connections in memory.
//
// [Pipe] returns the two ends of a connection; a [Listener] is a [net.Listener]
// whose connections come from [Listener.Dial], so that a server such as
// net/http's can run without a port.
//
// A connection differs from that of [net.Pipe] in two ways. It is buffered, at
// 256 KiB in each direction, so both ends may write first, as SSH does. And its
// ends have addresses of the caller's choice. Deadlines and half-close work as
// on a TCP connection.
//
// All waiting is on condition variables, channels and timers, so connections
// can be used inside a testing/synctest bubble.
package memconn
