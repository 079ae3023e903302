package ec2query

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// node is an element of the tree described by the dots in a form's keys.
type node struct {
	value    string
	set      bool
	children map[string]*node
}

// IsProtocolKey reports whether a key of a request belongs to the protocol, as
// Action and Signature do, and is not a parameter of the action.
func IsProtocolKey(key string) bool {
	switch key {
	case "Action", "Version", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp", "SecurityToken":
		return true
	}
	return strings.HasPrefix(key, "X-Amz-")
}

func parseForm(form url.Values) *node {
	root := &node{}
	for key, values := range form {
		if IsProtocolKey(key) {
			continue
		}
		at := root
		for part := range strings.SplitSeq(key, ".") {
			next := at.children[part]
			if next == nil {
				if at.children == nil {
					at.children = make(map[string]*node)
				}
				next = &node{}
				at.children[part] = next
			}
			at = next
		}
		at.value, at.set = values[len(values)-1], true
	}
	return root
}

// Decode fills the struct that into points to from a request, and returns the
// value of DryRun, which every action accepts. A key without a field fails with
// UnknownParameter, before any error about a missing parameter.
func Decode(form url.Values, into any) (dry bool, err *Error) {
	root := parseForm(form)
	if n := root.children["DryRun"]; n != nil {
		delete(root.children, "DryRun")
		if err := decodeNode(n, reflect.ValueOf(&dry).Elem(), "DryRun", ""); err != nil {
			return false, err
		}
	}
	return dry, decodeStruct(root, reflect.ValueOf(into).Elem(), "")
}

// field describes a struct field as its tag does.
type field struct {
	name     string
	required bool
	oneOf    []string
}

func fieldOf(f reflect.StructField) field {
	parts := strings.Split(f.Tag.Get("ec2"), ",")
	out := field{name: parts[0]}
	if out.name == "" {
		out.name = f.Name
	}
	for _, option := range parts[1:] {
		if option == "required" {
			out.required = true
		}
		if list, ok := strings.CutPrefix(option, "oneof="); ok {
			out.oneOf = strings.Split(list, "|")
		}
	}
	return out
}

func decodeStruct(n *node, v reflect.Value, path string) *Error {
	known := make(map[string]bool, v.NumField())
	var decode func(v reflect.Value) *Error
	decode = func(v reflect.Value) *Error {
		for sf, fv := range v.Fields() {
			if sf.Anonymous {
				if err := decode(fv); err != nil {
					return err
				}
				continue
			}
			f := fieldOf(sf)
			known[f.name] = true
			child := n.children[f.name]
			if child == nil {
				if f.required {
					return MissingParameter(path + f.name)
				}
				continue
			}
			if err := decodeNode(child, fv, path+f.name, strings.Join(f.oneOf, "|")); err != nil {
				return err
			}
		}
		return nil
	}
	// A misspelled name is a more likely mistake than a missing parameter.
	collectNames(v.Type(), known)
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if !known[name] {
			return Errorf("UnknownParameter", "The parameter %s is not recognized", path+n.children[name].firstKey(name))
		}
	}
	return decode(v)
}

func collectNames(t reflect.Type, into map[string]bool) {
	for f := range t.Fields() {
		if f.Anonymous {
			collectNames(f.Type, into)
		} else {
			into[fieldOf(f).name] = true
		}
	}
}

// firstKey returns the complete key of the first value below n.
func (n *node) firstKey(name string) string {
	if n.set || len(n.children) == 0 {
		return name
	}
	first := slices.Sorted(maps.Keys(n.children))[0]
	return name + "." + n.children[first].firstKey(first)
}

func decodeNode(n *node, v reflect.Value, path, oneOf string) *Error {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeNode(n, v.Elem(), path, oneOf)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return decodeList(n, v, path, oneOf)
		}
	case reflect.Struct:
		if v.Type() != reflect.TypeFor[time.Time]() {
			return decodeStruct(n, v, path+".")
		}
	}
	if len(n.children) > 0 {
		return Errorf("UnknownParameter", "The parameter %s is not recognized", n.firstChild(path))
	}
	return decodeScalar(n.value, v, path, oneOf)
}

func (n *node) firstChild(path string) string {
	first := slices.Sorted(maps.Keys(n.children))[0]
	return path + "." + n.children[first].firstKey(first)
}

func decodeList(n *node, v reflect.Value, path, oneOf string) *Error {
	indexes := make([]int, 0, len(n.children))
	for key := range n.children {
		index, err := strconv.Atoi(key)
		if err != nil || index < 0 {
			return Errorf("UnknownParameter", "The parameter %s is not recognized", path+"."+n.children[key].firstKey(key))
		}
		indexes = append(indexes, index)
	}
	slices.Sort(indexes)
	v.Set(reflect.MakeSlice(v.Type(), len(indexes), len(indexes)))
	for i, index := range indexes {
		key := strconv.Itoa(index)
		if err := decodeNode(n.children[key], v.Index(i), path+"."+key, oneOf); err != nil {
			return err
		}
	}
	return nil
}

func decodeScalar(value string, v reflect.Value, path, oneOf string) *Error {
	if oneOf != "" && !slices.Contains(strings.Split(oneOf, "|"), value) {
		return InvalidValue(path, value, "Valid values are: "+strings.ReplaceAll(oneOf, "|", ", "))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(value)
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return InvalidValue(path, value, "It must be true or false.")
		}
		v.SetBool(b)
	case reflect.Int:
		i, err := strconv.Atoi(value)
		if err != nil {
			return InvalidValue(path, value, "It must be a number.")
		}
		v.SetInt(int64(i))
	case reflect.Slice:
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return InvalidValue(path, "...", "Invalid BASE64 encoding.")
		}
		v.SetBytes(raw)
	case reflect.Struct:
		at, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return InvalidValue(path, value, "It must be a time in the form YYYY-MM-DDTHH:MM:SSZ.")
		}
		v.Set(reflect.ValueOf(at))
	default:
		panic(fmt.Sprintf("ec2query: parameter %s has the unsupported type %s", path, v.Type()))
	}
	return nil
}
