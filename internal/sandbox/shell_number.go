package sandbox

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func calculate(op syntax.BinAritOperator, a, b int64) (int64, error) {
	switch op {
	case syntax.Add:
		return a + b, nil
	case syntax.Sub:
		return a - b, nil
	case syntax.Mul:
		return a * b, nil
	case syntax.Quo, syntax.Rem:
		switch {
		case b == 0:
			return 0, errDivision
		case a == math.MinInt64 && b == -1:
			return map[bool]int64{true: a, false: 0}[op == syntax.Quo], nil
		case op == syntax.Quo:
			return a / b, nil
		}
		return a % b, nil
	case syntax.Pow:
		if b < 0 {
			return 0, fmt.Errorf("exponent less than 0 (error token is \"%d\")", b)
		}
		n := int64(1)
		for ; b > 0; b >>= 1 {
			if b&1 == 1 {
				n *= a
			}
			a *= a
		}
		return n, nil
	case syntax.Eql:
		return truth(a == b), nil
	case syntax.Neq:
		return truth(a != b), nil
	case syntax.Gtr:
		return truth(a > b), nil
	case syntax.Lss:
		return truth(a < b), nil
	case syntax.Leq:
		return truth(a <= b), nil
	case syntax.Geq:
		return truth(a >= b), nil
	case syntax.And:
		return a & b, nil
	case syntax.Or:
		return a | b, nil
	case syntax.Xor:
		return a ^ b, nil
	case syntax.Shl:
		return a << (uint64(b) & 63), nil //nolint:gosec // as the processor does
	case syntax.Shr:
		return a >> (uint64(b) & 63), nil //nolint:gosec // as the processor does
	case syntax.Comma:
		return b, nil
	}
	return 0, fmt.Errorf("operator %s is not supported by this machine", op)
}

// parseNumber parses a decimal, octal, hexadecimal or base#digits number.
func parseNumber(s string) (int64, error) {
	s = strings.TrimSpace(s)
	sign := int64(1)
	digits := s
	if strings.HasPrefix(digits, "-") || strings.HasPrefix(digits, "+") {
		if digits[0] == '-' {
			sign = -1
		}
		digits = digits[1:]
	}
	base := int64(10)
	switch {
	case strings.HasPrefix(digits, "0x"), strings.HasPrefix(digits, "0X"):
		base, digits = 16, digits[2:]
	case strings.HasPrefix(digits, "0") && len(digits) > 1:
		base, digits = 8, digits[1:]
	default:
		if prefix, rest, ok := strings.Cut(digits, "#"); ok {
			n, err := strconv.ParseInt(prefix, 10, 64)
			if err != nil || n < 2 || n > 64 {
				return 0, fmt.Errorf("%s: invalid arithmetic base (error token is %q)", s, s)
			}
			base, digits = n, rest
		}
	}
	if digits == "" && base != 16 {
		return 0, fmt.Errorf("%s: syntax error: operand expected (error token is %q)", s, s)
	}
	n := int64(0)
	for i := range len(digits) {
		d := digit(digits[i], base)
		if d < 0 {
			return 0, fmt.Errorf("%s: syntax error in expression (error token is %q)", s, s)
		}
		if d >= base {
			return 0, fmt.Errorf("%s: value too great for base (error token is %q)", s, s)
		}
		n = n*base + d
	}
	return sign * n, nil
}

func digit(c byte, base int64) int64 {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0')
	case c >= 'a' && c <= 'z':
		return int64(c-'a') + 10
	case c >= 'A' && c <= 'Z' && base <= 36:
		return int64(c-'A') + 10
	case c >= 'A' && c <= 'Z':
		return int64(c-'A') + 36
	case c == '@':
		return 62
	case c == '_':
		return 63
	}
	return -1
}
