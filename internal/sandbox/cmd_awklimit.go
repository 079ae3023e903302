package sandbox

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/benhoyt/goawk/interp"
	"github.com/benhoyt/goawk/parser"
)

// awkGuard bounds the memory and steps of an awk program. The library has no
// limits, so limit makes the compiled program call the guard's functions wherever
// it builds a string, splits one, calls a function or repeats a loop.
type awkGuard struct {
	io        *awkIO
	p         *Process
	largest   int64 // size of a string
	allocated int64 // since the program began
	next      int64 // value of allocated at which to measure again
	measured  int64
	measure   func() int64
	held      []string // arguments of sub and gsub
}

// The names sort in the order of the numbers, as the library numbers functions.
const (
	awkConcat = iota
	awkHold
	awkCheck
	awkHeld
	awkSplit
	awkStep
	awkFilename
	awkNextFile
	awkPrint
	awkClose
	awkSystem
	awkGetline
	awkGot
	awkLine
)

func newAWKGuard(p *Process) *awkGuard {
	return &awkGuard{p: p, largest: p.Host.o.Limits.Memory / 4, measure: func() int64 { return 0 }}
}

func (g *awkGuard) funcs() map[string]any {
	return map[string]any{
		"a_concat": g.concat, "b_hold": g.hold, "c_check": g.check, "d_held": g.takeHeld, "e_split": g.split, "f_step": g.step,
		"g_filename": g.io.filename, "h_nextfile": g.io.nextFile, "i_print": g.io.print, "j_close": g.io.close, "k_system": g.io.system,
		"l_getline": g.io.getline, "m_got": g.io.wasRead, "n_line": g.io.lastLine,
	}
}

// take counts n allocated bytes and measures the program from time to time.
func (g *awkGuard) take(n int64) error {
	if n > g.largest {
		g.p.session.report("the limit of memory")
		return errMemory
	}
	if !g.p.session.step(int(n >> 12)) { //nolint:mnd // copying takes time
		g.p.kill(signal("XCPU"))
		return errMemory
	}
	if g.allocated += n; g.allocated < g.next {
		return nil
	}
	g.next = g.allocated + g.largest
	if now := g.measure(); now > g.measured {
		if !g.p.hold(now - g.measured) {
			return errMemory
		}
		g.measured = now
	}
	return nil
}

func (g *awkGuard) concat(parts ...string) (string, error) {
	var n int64
	for _, s := range parts {
		n += int64(len(s))
	}
	if err := g.take(n); err != nil {
		return "", err
	}
	return strings.Join(parts, ""), nil
}

func (g *awkGuard) check(s string) (string, error) { return s, g.take(int64(len(s))) }

// split is called before a split of s, of which each character may become an
// element.
func (g *awkGuard) split(s string) (string, error) { return s, g.take(int64(len(s)) * 16) }

func (g *awkGuard) step() (bool, error) {
	if !g.p.session.step(1) {
		g.p.kill(signal("XCPU"))
		return false, errMemory
	}
	return true, g.take(100)
}

// hold keeps the arguments of sub and gsub, which takeHeld returns one by one.
func (g *awkGuard) hold(pattern, replacement, in string) (bool, error) {
	g.held = []string{pattern, replacement, in}
	matched := int64(len(in)) * int64(1+strings.Count(replacement, "&"))
	size := matched + int64(len(in)+1)*int64(len(replacement))
	if size > g.largest {
		size = matched
		if re, err := regexp.Compile("(?s:" + pattern + ")"); err == nil {
			for rest := in; size <= g.largest; {
				at := re.FindStringIndex(rest)
				if at == nil {
					break
				}
				size += int64(len(replacement))
				if at[1] == 0 {
					at[1] = 1
				}
				if at[1] >= len(rest) {
					break
				}
				rest = rest[at[1]:]
			}
		}
	}
	return true, g.take(size)
}

func (g *awkGuard) takeHeld() string {
	s := g.held[0]
	g.held = g.held[1:]
	return s
}

// watch lets the guard measure the variables of run, by reflection: the library exports
// no way to see them. Interpreter.Array copies a global array, and nothing reveals
// scalars, the arguments and local arrays of functions, and what is about to be assigned.
// Without a measure, only what a program has allocated in all could be bounded, which
// would end filters of large inputs that hold almost nothing. To keep account of each
// assignment instead, limit would have to change every instruction that assigns or
// deletes, and hold each key of an array twice. If the library's fields are others than
// these, awk fails with an error before the program runs.
func (g *awkGuard) watch(run *interp.Interpreter) error {
	inner := reflect.ValueOf(run).Elem().FieldByName("interp")
	if inner.Kind() != reflect.Pointer {
		return fmt.Errorf("unknown interpreter %T", run)
	}
	inner = inner.Elem()
	for _, name := range []string{"globals", "stack", "arrays"} {
		if inner.FieldByName(name).Kind() != reflect.Slice {
			return fmt.Errorf("unknown interpreter %T: no %s", run, name)
		}
	}
	g.measure = func() int64 {
		var n int64
		for _, name := range []string{"globals", "stack"} {
			for _, v := range inner.FieldByName(name).Seq2() {
				n += int64(v.FieldByName("s").Len())
			}
		}
		for _, array := range inner.FieldByName("arrays").Seq2() {
			for element := array.MapRange(); element.Next(); {
				n += 100 + int64(element.Key().Len()+element.Value().FieldByName("s").Len())
			}
		}
		return n
	}
	return nil
}

// limit makes all code of the program call the guard's functions.
func (g *awkGuard) limit(program *parser.Program) error {
	c := program.Compiled
	w, err := newAWKRewriter(c.Begin)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"FILENAME": "FILENAME", "OFS": "OFS", "ORS": "ORS", "fflush": "fflush()", "close": `close("x")`, "system": `system("x")`} {
		probe, err := parser.ParseProgram([]byte("BEGIN { "+text+" }"), nil)
		if err != nil {
			return err
		}
		code := probe.Compiled.Begin
		w.known[name] = code[len(code)-2] // before Drop
	}
	for _, text := range []string{"", ">", ">>", "|", "<"} {
		w.known["string "+text] = w.index(len(c.Strs))
		c.Strs = append(c.Strs, text)
	}
	w.known["number 0"] = w.index(len(c.Nums))
	c.Nums = append(c.Nums, 0)
	c.Begin, c.End = w.rewrite(c.Begin), w.rewrite(c.End)
	for i := range c.Actions {
		for j, code := range c.Actions[i].Pattern {
			c.Actions[i].Pattern[j] = w.rewrite(code)
		}
		c.Actions[i].Body = w.rewrite(c.Actions[i].Body)
	}
	for i := range c.Functions {
		c.Functions[i].Body = w.rewrite(c.Functions[i].Body)
	}
	return w.err
}

type awkOpcode interface {
	~int32
	fmt.Stringer
}

// awkRewriter inserts calls into compiled code, whose jumps are relative.
type awkRewriter[T awkOpcode] struct {
	names    []string
	operands map[string]int
	number   map[string]T
	gsub     [2]T         // numbers of sub and gsub
	known    map[string]T // of variables, functions and constants
	err      error
}

func (w *awkRewriter[T]) index(n int) T { return T(n) }

// awkOperands returns the instructions with operands and how many they have; CallUser
// has more.
func awkOperands() map[string]int {
	return map[string]int{
		"Num": 1, "Str": 1, "FieldInt": 1, "FieldByNameStr": 1, "Global": 1, "Local": 1, "Special": 1, "ArrayGlobal": 1, "ArrayLocal": 1,
		"InGlobal": 1, "InLocal": 1, "AssignGlobal": 1, "AssignLocal": 1, "AssignSpecial": 1, "AssignArrayGlobal": 1, "AssignArrayLocal": 1,
		"Delete": 2, "DeleteAll": 2, "IncrField": 1, "IncrGlobal": 2, "IncrLocal": 2, "IncrSpecial": 2, "IncrArrayGlobal": 2, "IncrArrayLocal": 2,
		"AugAssignField": 1, "AugAssignGlobal": 2, "AugAssignLocal": 2, "AugAssignSpecial": 2, "AugAssignArrayGlobal": 2, "AugAssignArrayLocal": 2,
		"Regex": 1, "IndexMulti": 1, "ConcatMulti": 1, "Jump": 1, "JumpFalse": 1, "JumpTrue": 1, "JumpEquals": 1, "JumpNotEquals": 1,
		"JumpLess": 1, "JumpGreater": 1, "JumpLessOrEqual": 1, "JumpGreaterOrEqual": 1, "ForIn": 5, "CallBuiltin": 1, "CallLengthArray": 2,
		"CallSplit": 2, "CallSplitSep": 2, "CallSprintf": 1, "CallUser": 2, "CallNative": 2, "Nulls": 1, "Print": 2, "Printf": 2, "Getline": 1,
		"GetlineField": 1, "GetlineGlobal": 2, "GetlineLocal": 2, "GetlineSpecial": 2, "GetlineArray": 3,
	}
}

// newAWKRewriter learns the numbers of the instructions, whose type is internal
// to the library, from their names.
func newAWKRewriter[T awkOpcode](_ []T) (*awkRewriter[T], error) {
	w := &awkRewriter[T]{operands: awkOperands(), number: map[string]T{}, known: map[string]T{}, gsub: [2]T{18, 6}}
	for op := T(0); op < 200; op++ {
		name := op.String()
		w.names = append(w.names, name)
		w.number[name] = op
		if name == "EndOpcode" {
			break
		}
	}
	for name := range w.operands {
		if _, ok := w.number[name]; !ok {
			return nil, fmt.Errorf("unknown instruction %s", name)
		}
	}
	return w, nil
}

func (w *awkRewriter[T]) rewrite(code []T) []T {
	var out []T
	starts := map[int]int{} // in out, of each old instruction
	type jump struct{ at, end, target int }
	var jumps []jump
	call := func(function, args T) { out = append(out, w.number["CallNative"], function, args) }
	step := func() { call(awkStep, 0); out = append(out, w.number["Drop"]) }
	for i := 0; i < len(code); {
		starts[i] = len(out)
		if int(code[i]) >= len(w.names) {
			w.err = fmt.Errorf("unknown instruction %d", code[i])
			return code
		}
		name := w.names[code[i]]
		end := i + 1 + w.operands[name]
		if name == "CallUser" {
			end += 2 * int(code[i+2])
		}
		words := code[i:end]
		if replaced := w.inputOutput(name, words); replaced != nil {
			out = append(out, replaced...)
			i = end
			continue
		}
		switch {
		case name == "Concat":
			call(awkConcat, 2)
		case name == "ConcatMulti":
			call(awkConcat, words[1])
		case name == "IndexMulti" || name == "CallSprintf":
			out = append(out, words...)
			call(awkCheck, 1)
		case name == "CallSplit":
			call(awkSplit, 1)
			out = append(out, words...)
		case name == "CallSplitSep":
			out = append(out, w.number["Swap"])
			call(awkSplit, 1)
			out = append(append(out, w.number["Swap"]), words...)
		case name == "CallBuiltin" && (words[1] == w.gsub[0] || words[1] == w.gsub[1]):
			call(awkHold, 3)
			out = append(out, w.number["Drop"])
			for range 3 {
				call(awkHeld, 0)
			}
			out = append(out, words...)
		case name == "CallUser":
			step()
			out = append(out, words...)
		case name == "ForIn" || strings.HasPrefix(name, "Jump"):
			offset := int(words[len(words)-1])
			if offset < 0 {
				step()
			}
			out = append(out, words...)
			jumps = append(jumps, jump{len(out) - 1, len(out), end + offset})
			if name == "ForIn" {
				step()
			}
		default:
			out = append(out, words...)
		}
		i = end
	}
	starts[len(code)] = len(out)
	for _, j := range jumps {
		out[j.at] = T(starts[j.target] - j.end)
	}
	return out
}
