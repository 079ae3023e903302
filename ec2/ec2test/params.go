package ec2test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// The parameters of an action are a Go struct. A field's name in the request
// is its tag, "ec2:<name>[,required][,oneof=a|b]", or else the field's own
// name. Slices are EC2's flattened lists (Name.1, Name.2), structs are nested
// names (Name.Member), pointers tell an absent value from a zero one, and
// []byte is base64. Every key of a request must find its field.

// node is one element of the tree that the dots in the keys describe.
type node struct {
	value    string
	set      bool
	children map[string]*node
}

// protocolKeys belong to the protocol and not to the action.
func protocolKey(key string) bool {
	switch key {
	case "Action", "Version", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp", "SecurityToken":
		return true
	}
	return strings.HasPrefix(key, "X-Amz-")
}

func parseForm(form url.Values) *node {
	root := &node{}
	for key, values := range form {
		if protocolKey(key) {
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

// decodeParams fills the struct that into points to. It takes DryRun, which
// every action knows, out of the form first.
func decodeParams(form url.Values, into any) (dry bool, err *apiError) {
	root := parseForm(form)
	if n := root.children["DryRun"]; n != nil {
		delete(root.children, "DryRun")
		if err := decodeNode(n, reflect.ValueOf(&dry).Elem(), "DryRun", ""); err != nil {
			return false, err
		}
	}
	return dry, decodeStruct(root, reflect.ValueOf(into).Elem(), "")
}

// A field is what the tag of a struct field says.
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

func decodeStruct(n *node, v reflect.Value, path string) *apiError {
	known := make(map[string]bool, v.NumField())
	var decode func(v reflect.Value) *apiError
	decode = func(v reflect.Value) *apiError {
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
					return missing(path + f.name)
				}
				continue
			}
			if err := decodeNode(child, fv, path+f.name, strings.Join(f.oneOf, "|")); err != nil {
				return err
			}
		}
		return nil
	}
	// What is unknown is said before what is missing: it is more often the cause.
	collectNames(v.Type(), known)
	for _, name := range sortedKeys(n.children) {
		if !known[name] {
			return fail("UnknownParameter", "The parameter %s is not recognized", path+n.children[name].firstKey(name))
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

func sortedKeys(m map[string]*node) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// firstKey is the whole key of the first value below n.
func (n *node) firstKey(name string) string {
	if n.set || len(n.children) == 0 {
		return name
	}
	first := sortedKeys(n.children)[0]
	return name + "." + n.children[first].firstKey(first)
}

func decodeNode(n *node, v reflect.Value, path, oneOf string) *apiError {
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
		return fail("UnknownParameter", "The parameter %s is not recognized", n.firstChild(path))
	}
	return decodeScalar(n.value, v, path, oneOf)
}

func (n *node) firstChild(path string) string {
	first := sortedKeys(n.children)[0]
	return path + "." + n.children[first].firstKey(first)
}

func decodeList(n *node, v reflect.Value, path, oneOf string) *apiError {
	indexes := make([]int, 0, len(n.children))
	for key := range n.children {
		index, err := strconv.Atoi(key)
		if err != nil || index < 0 {
			return fail("UnknownParameter", "The parameter %s is not recognized", path+"."+n.children[key].firstKey(key))
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

func decodeScalar(value string, v reflect.Value, path, oneOf string) *apiError {
	if oneOf != "" && !slices.Contains(strings.Split(oneOf, "|"), value) {
		return invalidValue(path, value, "Valid values are: "+strings.ReplaceAll(oneOf, "|", ", "))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(value)
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return invalidValue(path, value, "It must be true or false.")
		}
		v.SetBool(b)
	case reflect.Int:
		i, err := strconv.Atoi(value)
		if err != nil {
			return invalidValue(path, value, "It must be a number.")
		}
		v.SetInt(int64(i))
	case reflect.Slice:
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return invalidValue(path, "...", "Invalid BASE64 encoding.")
		}
		v.SetBytes(raw)
	case reflect.Struct:
		at, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return invalidValue(path, value, "It must be a time in the form YYYY-MM-DDTHH:MM:SSZ.")
		}
		v.Set(reflect.ValueOf(at))
	default:
		panic(fmt.Sprintf("ec2test: parameter %s has the unsupported type %s", path, v.Type()))
	}
	return nil
}

// paramNames lists every parameter of an input struct as the coverage page
// shows it: "TagSpecification.N.Tag.N.Key".
func paramNames(t reflect.Type, prefix string) []string {
	var names []string
	for sf := range t.Fields() {
		if sf.Anonymous {
			names = append(names, paramNames(sf.Type, prefix)...)
			continue
		}
		name, ft := prefix+fieldOf(sf).name, sf.Type
		for {
			if ft.Kind() == reflect.Slice && ft.Elem().Kind() != reflect.Uint8 {
				name, ft = name+".N", ft.Elem()
				continue
			}
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
				continue
			}
			break
		}
		if ft.Kind() == reflect.Struct && ft != reflect.TypeFor[time.Time]() {
			names = append(names, paramNames(ft, name+".")...)
			continue
		}
		names = append(names, name)
	}
	return names
}
