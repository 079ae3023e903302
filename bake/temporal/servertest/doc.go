// Package servertest tests package temporal with a real server of Temporal, which is heavy to
// build: it is a module of its own, and its tests run only with BAKESTONE_LONG=1.
package servertest
