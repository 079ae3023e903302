package provision

import (
	"encoding/json"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// object is v, a struct or a map that a caller filled in, as a JSON object.
// Nil is "{}".
func object(v any) ([]byte, error) {
	if v == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(v)
}

// checkObject reports what does not marshal to a JSON object, or would lose a
// secret on the way.
func checkObject(field string, v any) error {
	text, err := object(v)
	if err != nil {
		return bake.Invalid(field, "%w", err)
	}
	switch {
	case !strings.HasPrefix(string(text), "{"):
		return bake.Invalid(field, "a %T marshals to %.20s: it must be a struct or a map", v, text)
	case strings.Contains(string(text), `"`+bake.Secret{}.String()+`"`):
		return bake.Invalid(field, "there is a bake.Secret in it, which marshals to %q: secrets have a field of their own", bake.Secret{})
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
