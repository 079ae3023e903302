// Package cpu measures the processor time that tests take, which says more than the
// clock on a machine shared with other processes.
package cpu
