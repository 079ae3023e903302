// Package redacted finds the printed form of a secret in definitions: somebody
// formatted a secret, and the image would contain "[redacted]" in its place.
package redacted

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/mask"
)

// In reports whether text contains the printed form of a secret, plain or in base64,
// percent escapes or hexadecimal digits. JSON, XML and shells do not change it.
func In(text string) bool {
	if strings.Contains(text, mask.Redacted) {
		return true
	}
	if len(text) < len(mask.Redacted) {
		return false
	}
	lower := strings.ToLower(text)
	if strings.Contains(lower, "%5bredacted%5d") || strings.Contains(lower, hex.EncodeToString([]byte(mask.Redacted))) {
		return true
	}
	unwrapped := strings.NewReplacer("\r", "", "\n", "").Replace(text)
	return slices.ContainsFunc([]int{0, 1, 2}, func(offset int) bool { return strings.Contains(unwrapped, inBase64(offset)) })
}

// inBase64 returns the characters of base64 that stand for the printed form alone if
// offset bytes precede it in its group of three.
func inBase64(offset int) string {
	const bits = 6 // of a character
	encoded := base64.StdEncoding.EncodeToString([]byte("\x00\x00"[:offset] + mask.Redacted))
	return encoded[(8*offset+bits-1)/bits : 8*(offset+len(mask.Redacted))/bits]
}

// maxDepth limits the search in cyclic values.
const maxDepth = 10

// Fields returns the names of the texts in v that contain the printed form of a secret,
// such as Script.Env["TOKEN"]. It looks at strings in structs, pointers, slices and
// maps, in any depth, but not at unexported fields and fields of interface types: the
// values of those have their own Validate, or do not belong to the definition.
func Fields(name string, v any) []string {
	var found []string
	walk(name, reflect.ValueOf(v), maxDepth, func(name, text string) {
		if In(text) && !slices.Contains(found, name) {
			found = append(found, name)
		}
	})
	return found
}

// Check returns an error, made by invalid, for each of the Fields of v. It is bake.Invalid,
// which this package cannot import.
func Check(name string, v any, remedy string, invalid func(field, format string, args ...any) error) error {
	fields := Fields(name, v)
	errs := make([]error, 0, len(fields))
	for _, field := range fields {
		errs = append(errs, invalid(field, "contains %s, the printed form of a bake.Secret: %s", mask.Redacted, remedy))
	}
	return errors.Join(errs...)
}

func walk(name string, v reflect.Value, depth int, see func(name, text string)) {
	if depth == 0 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		see(name, v.String())
	case reflect.Pointer, reflect.Interface:
		walk(name, v.Elem(), depth-1, see)
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			switch {
			case !field.IsExported() || field.Type.Kind() == reflect.Interface:
			case field.Anonymous:
				walk(name, v.Field(i), depth-1, see)
			default:
				walk(name+"."+field.Name, v.Field(i), depth-1, see)
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
			see(name, string(v.Bytes()))
			return
		}
		for i := range v.Len() {
			walk(fmt.Sprintf("%s[%d]", name, i), v.Index(i), depth-1, see)
		}
	case reflect.Map:
		walkMap(name, v, depth, see)
	default: // holds no text
	}
}

func walkMap(name string, v reflect.Value, depth int, see func(name, text string)) {
	if v.Type().Key().Kind() != reflect.String {
		return
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		at := fmt.Sprintf("%s[%q]", name, key.String())
		see(at, key.String())
		walk(at, v.MapIndex(key), depth-1, see)
	}
}
