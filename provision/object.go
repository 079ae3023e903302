package provision

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/redacted"
)

// object returns v, a struct or map, as a JSON object. Nil, a nil map and a nil pointer
// to either become "{}".
func object(v any) ([]byte, error) {
	if isNilObject(reflect.ValueOf(v)) {
		return []byte("{}"), nil
	}
	return json.Marshal(v)
}

func isNilObject(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Map:
		return v.IsNil()
	case reflect.Pointer:
		if v.IsNil() {
			kind := v.Type().Elem().Kind()
			return kind == reflect.Struct || kind == reflect.Map
		}
		return isNilObject(v.Elem())
	default:
		return false
	}
}

// checkObject reports a value that does not marshal to a JSON object, or that contains
// a bake.Secret or its printed form.
func checkObject(field string, v any) error {
	text, err := object(v)
	if err != nil {
		return bake.Invalid(field, "%w", err)
	}
	switch {
	case !strings.HasPrefix(string(text), "{"):
		return bake.Invalid(field, "%T marshals to %.20s: use a struct or a map", v, text)
	case !redacted.In(string(text)):
		return nil
	}
	var values map[string]any
	if err := json.Unmarshal(text, &values); err != nil {
		return bake.Invalid(field, "%w", err)
	}
	return checkRedacted(field, values)
}

// declareObject declares v by its JSON.
func declareObject(in *bake.Inputs, name string, v any) error {
	text, err := object(v)
	if err != nil {
		return err
	}
	in.Value(name, string(text))
	return nil
}
