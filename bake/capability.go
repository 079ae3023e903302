package bake

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// A Wrapper is a value that wraps another one of the same interface V, such as
// Builder or Provisioner, and offers what that one can do besides V. See [As].
type Wrapper[V any] interface {
	Unwrap() V
}

// As finds an optional capability C of v, such as [Finder] of a Builder: it
// returns v itself if it implements C, else the first value that implements C in
// the chain that v's Unwrap methods lead to.
//
// The engine finds every optional interface of this package this way, so a value,
// its address, a struct that embeds it and a [Wrapper] around it behave alike. A
// wrapper hides a capability by implementing it.
func As[C, V any](v V) (capability C, ok bool) {
	for {
		if c, ok := any(v).(C); ok {
			return c, true
		}
		w, ok := any(v).(Wrapper[V])
		if !ok {
			return capability, false
		}
		v = w.Unwrap()
	}
}

// A Validator is a Provisioner, Check or Publisher that can tell before the build
// begins that it will not work: a file is missing on the baking host, a required
// field is not set. It reports everything it finds, joined.
type Validator interface {
	Validate() error
}

// A HostValidator is a Builder, Provisioner, Check or Publisher that needs programs on the
// baking host. Bake calls ValidateHost before it creates anything. Validate does not,
// so a definition can be tested where the programs are not installed.
type HostValidator interface {
	// ValidateHost reports missing programs and how to install them.
	ValidateHost() error
}

// ValidateValue reports a provisioner, check or publisher that is nil, or what its
// Validate reports. For values made of others.
func ValidateValue[V any](v V) error {
	if isNil(v) {
		return errors.New("is nil")
	}
	if c, ok := As[Validator](v); ok {
		return c.Validate()
	}
	return nil
}

// isNil reports whether v is nil or an interface that holds a nil pointer or func.
func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func:
		return r.IsNil()
	default:
		return false
	}
}

// Describe returns the name that step names give a provisioner, check or
// publisher: its String, else the name of its type in lower case.
func Describe[V any](v V) string {
	if isNil(v) {
		return "nil"
	}
	if s, ok := As[fmt.Stringer](v); ok {
		return s.String()
	}
	name := reflect.TypeOf(v).String()
	return strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
}
