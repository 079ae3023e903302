package provision

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
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

// checkObject reports a value that does not marshal to a JSON object, or contains
// a bake.Secret, which would be redacted.
func checkObject(field string, v any) error {
	text, err := object(v)
	if err != nil {
		return bake.Invalid(field, "%w", err)
	}
	switch {
	case !strings.HasPrefix(string(text), "{"):
		return bake.Invalid(field, "%T marshals to %.20s: use a struct or a map", v, text)
	case strings.Contains(string(text), `"`+bake.Secret{}.String()+`"`):
		return bake.Invalid(field, "contains a bake.Secret, which marshals to %q: use the field for secrets", bake.Secret{})
	}
	return nil
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
