package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"unsafe"

	"github.com/itchyny/gojq"
)

// jqGuard bounds the memory and steps of a jq program. The library has no limits, but
// asks its context before each instruction, and takes programs as syntax trees. So the
// guard counts instructions, and rewrites a program so that it checks the values that
// functions and operators get and return.
type jqGuard struct {
	context.Context //nolint:containedctx // it is one

	p            *Process
	largest      int64 // size of a value written as JSON, about
	instructions int
	charged      int64 // bytes not yet counted by the machine's meter
	recent       [32]uintptr
	next         int
	err          error
	closed       chan struct{}
}

const (
	jqInstruction = 40     // bytes that an instruction allocates at most, on average
	jqBatch       = 256    // instructions between two counts
	jqShare       = 2      // bytes allocated, garbage too, for a byte of Limits.Memory
	jqDepth       = 10_000 // of a value, as in jq
	jqInput       = 24     // bytes that a byte of JSON may take
)

func newJQGuard(ctx context.Context, p *Process) *jqGuard {
	closed := make(chan struct{})
	close(closed)
	return &jqGuard{Context: ctx, p: p, largest: p.Host.o.Limits.Memory / 4, closed: closed}
}

// Done counts an instruction. It returns a closed channel if the program must end.
func (g *jqGuard) Done() <-chan struct{} {
	if g.err != nil {
		return g.closed
	}
	if g.instructions++; g.instructions%jqBatch == 0 {
		if !g.p.session.step(jqBatch) {
			g.p.kill(signal("XCPU"))
			g.err = errMemory
			return g.closed
		}
		if g.charge(jqBatch*jqInstruction) != nil {
			return g.closed
		}
	}
	return g.Context.Done()
}

// Err returns why the program must end.
func (g *jqGuard) Err() error {
	if g.err != nil {
		return g.err
	}
	return g.Context.Err()
}

// charge counts n allocated bytes.
func (g *jqGuard) charge(n int64) error {
	if g.charged += n; g.charged < jqBatch*jqInstruction {
		return g.err
	}
	if g.err == nil && !g.p.hold(g.charged/jqShare) {
		g.err = errMemory
	}
	g.charged = 0
	return g.err
}

// tooLarge ends the program.
func (g *jqGuard) tooLarge() error {
	g.p.session.report("the limit of memory")
	g.err = errMemory
	return errMemory
}

var errJQDepth = errors.New("exceeds depth limit for parsing") //nolint:staticcheck // as jq prints it

// size returns how much memory v would take if it shared nothing, or more than limit.
func (g *jqGuard) size(v any, limit int64, depth int) (int64, error) {
	if depth > jqDepth {
		return 0, errJQDepth
	}
	const word, element, pair = 16, 24, 64
	n := int64(word)
	add := func(v any) error {
		some, err := g.size(v, limit-n, depth+1)
		n += some
		return err
	}
	switch v := v.(type) {
	case string:
		return n + int64(len(v)), nil
	case json.Number:
		return n + int64(len(v)), nil
	case *big.Int:
		const bits = 2 // digits take time that grows with the square of their number
		return n + int64(v.BitLen())*bits, nil
	case []any:
		for _, x := range v {
			if n += element - word; n > limit {
				break
			}
			if err := add(x); err != nil {
				return n, err
			}
		}
	case map[string]any:
		for k, x := range v {
			if n += pair + int64(len(k)); n > limit {
				break
			}
			if err := add(x); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// bounded returns v if it has at most the given size, and counts it as allocated unless
// it was seen just now.
func (g *jqGuard) bounded(v any, limit int64, result bool) any {
	n, err := g.size(v, limit, 0)
	if err != nil {
		return err
	}
	if n > limit {
		return g.tooLarge()
	}
	if !g.p.session.step(int(n >> 12)) {
		g.p.kill(signal("XCPU"))
		return g.tooLarge()
	}
	if at := identity(v); result && (at == 0 || !g.seen(at)) {
		if err := g.charge(n); err != nil {
			return err
		}
	}
	return v
}

// identity returns the address of a value's content.
func identity(v any) uintptr {
	switch v := v.(type) {
	case string:
		return uintptr(unsafe.Pointer(unsafe.StringData(v))) //nolint:gosec // compared only
	case []any, map[string]any:
		return reflect.ValueOf(v).Pointer()
	}
	return 0
}

func (g *jqGuard) seen(at uintptr) bool {
	for _, known := range g.recent {
		if known == at {
			return true
		}
	}
	g.recent[g.next%len(g.recent)] = at
	g.next++
	return false
}

// options returns the functions that rewritten programs call.
func (g *jqGuard) options() []gojq.CompilerOption {
	const few, fewer, rows = 16, 256, 24 // a match takes about 1 KiB
	check := func(name string, f func(v any) any) gojq.CompilerOption {
		return gojq.WithFunction(name, 0, 0, func(v any, _ []any) any { return f(v) })
	}
	return []gojq.CompilerOption{
		check("_bounded", func(v any) any { return g.bounded(v, g.largest, false) }),
		check("_result", func(v any) any { return g.bounded(v, g.largest, true) }),
		check("_short", func(v any) any { return g.bounded(v, g.largest/few, false) }),
		check("_shorter", func(v any) any { return g.bounded(v, g.largest/fewer, false) }),
		check("_index", func(v any) any { return g.index(v) }),
		check("_path", func(v any) any {
			path, _ := v.([]any)
			for _, part := range path {
				if failed, ok := g.index(part).(error); ok {
					return failed
				}
			}
			return v
		}),
		check("_event", func(v any) any {
			if event, _ := v.([]any); len(event) > 0 {
				path, _ := event[0].([]any)
				for _, part := range path {
					if failed, ok := g.index(part).(error); ok {
						return failed
					}
				}
			}
			return v
		}),
		check("_rows", func(v any) any {
			all, _ := v.([]any)
			longest := 0
			for _, row := range all {
				if row, ok := row.([]any); ok {
					longest = max(longest, len(row))
				}
			}
			if int64(len(all))*int64(longest)*rows > g.largest {
				return g.tooLarge()
			}
			return v
		}),
		gojq.WithFunction("_separated", 1, 1, func(v any, args []any) any {
			all, _ := v.([]any)
			if separator, _ := args[0].(string); int64(len(all))*int64(len(separator)) > g.largest {
				return g.tooLarge()
			}
			return args[0]
		}),
		gojq.WithFunction("_factors", 2, 2, func(_ any, args []any) any {
			for i := range args {
				if text, ok := args[i].(string); ok && repeated(len(text), args[1-i]) > float64(g.largest) {
					return g.tooLarge()
				}
			}
			return g.pair(args, g.largest)
		}),
		gojq.WithFunction("_parts", 2, 2, func(_ any, args []any) any { return g.pair(args, g.largest/few) }),
		gojq.WithFunction("_pair", 2, 2, func(_ any, args []any) any { return g.pair(args, g.largest) }),
	}
}

func (g *jqGuard) pair(args []any, limit int64) any {
	for _, v := range args {
		if err, failed := g.bounded(v, limit, false).(error); failed {
			return err
		}
	}
	return []any{args[0], args[1]}
}

// repeated returns the size of n bytes times a number.
func repeated(n int, times any) float64 {
	switch times := times.(type) {
	case int:
		return float64(n) * float64(times)
	case float64:
		return float64(n) * times
	case json.Number:
		f, _ := times.Float64() // infinity if it is too large
		return float64(n) * f
	case *big.Int:
		f, _ := times.Float64()
		return float64(n) * f
	}
	return 0
}

// index checks an index, up to which an assignment would allocate an array.
func (g *jqGuard) index(v any) any {
	const element = 16
	if repeated(element, v) > float64(g.largest) {
		return g.tooLarge()
	}
	return v
}

// parse parses and rewrites a program.
func (g *jqGuard) parse(text string) (*gojq.Query, error) {
	if len(text) > longestProgram {
		return nil, errLongProgram
	}
	if strings.ContainsRune(text, '\x00') {
		return nil, errors.New("program contains a zero byte")
	}
	query, err := gojq.Parse(text)
	if err != nil {
		return nil, err
	}
	w := jqRewriter{own: map[string]bool{}}
	w.query(query)
	return piped(query, call("_result")), nil
}
