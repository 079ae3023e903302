package sandbox

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// seq prints numbers from the first to the last, with as many decimals as the operands
// have.
func seq(_ context.Context, p *Process) int {
	separator, format, args, equal := "\n", "", p.Args[1:], false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.IndexByte(".0123456789", args[0][1]) < 0 {
		arg, rest := args[0], args[1:]
		name, value, given := strings.Cut(arg, "=")
		if !strings.HasPrefix(arg, "--") {
			name, value, given = arg[:2], arg[2:], len(arg) > 2
		}
		switch name {
		case "--":
			args = rest
			return p.sequence(args, separator, format, equal)
		case "-w", "--equal-width":
			equal, args = true, rest
			continue
		case "-s", "--separator", "-f", "--format":
		default:
			return p.fail(2, "option '%s' is not supported by this machine", arg)
		}
		if !given {
			if len(rest) == 0 {
				return p.tryHelp("option requires an argument -- '%s'", strings.Trim(name, "-"))
			}
			value, rest = rest[0], rest[1:]
		}
		if strings.Trim(name, "-")[0] == 's' {
			separator = value
		} else {
			format = value
		}
		args = rest
	}
	return p.sequence(args, separator, format, equal)
}

func (p *Process) sequence(args []string, separator, format string, equal bool) int {
	nums := make([]float64, len(args))
	decimals, width := 0, 0
	for i, arg := range args {
		n, err := strconv.ParseFloat(arg, 64)
		if err != nil || math.IsNaN(n) {
			return p.tryHelp("invalid floating point argument: %s", p.quote(arg))
		}
		nums[i] = n
		if _, fraction, ok := strings.Cut(arg, "."); ok && (i < len(args)-1 || len(args) == 1) {
			decimals = max(decimals, len(fraction))
		}
	}
	from, step, to := 1.0, 1.0, 0.0
	switch len(nums) {
	case 0:
		return p.tryHelp("missing operand")
	case 1:
		to, decimals = nums[0], 0
	case 2: //nolint:mnd // the first and the last
		from, to = nums[0], nums[1]
	case 3: //nolint:mnd // also the step
		from, step, to = nums[0], nums[1], nums[2]
	default:
		return p.tryHelp("extra operand %s", p.quote(args[3]))
	}
	if step == 0 {
		return p.tryHelp("invalid Zero increment value: %s", p.quote(args[1]))
	}
	text := func(n float64) string { return strconv.FormatFloat(n, 'f', decimals, 64) }
	if equal {
		width = max(len(text(from)), len(text(from+math.Floor((to-from)/step)*step)))
		plain := text
		text = func(n float64) string {
			s, minus := strings.CutPrefix(plain(n), "-")
			if minus {
				return "-" + padLeft(s, width-1)
			}
			return padLeft(s, width)
		}
	}
	if format != "" {
		verb := strings.IndexByte(strings.ReplaceAll(format, "%%", "__"), '%')
		if verb < 0 {
			return p.fail(1, "format %s has no %% directive", p.quote(format))
		}
		text = func(n float64) string { return fmt.Sprintf(format, n) }
		if strings.Contains(text(0), "%!") {
			return p.fail(1, "format %s has unknown %%%s directive", p.quote(format), format[len(format)-1:])
		}
	}
	between, limit := "", to+step*1e-9
	for i := 0.0; ; i++ {
		n := from + i*step
		if step > 0 && n > limit || step < 0 && n < limit {
			break
		}
		if !p.print(between, text(n)) {
			return signal("PIPE").status()
		}
		between = separator
	}
	if between != "" || separator == "" && from <= to {
		p.print("\n")
	}
	return 0
}
