package bake

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
)

// Fields adds the type of v and its exported fields with all that they hold, for a
// value that declares no inputs itself. Values that are an [InputDeclarer] declare
// theirs. Of a func or channel it adds only whether there is one, of a Secret a digest.
// It leaves out unexported fields, and what a pointer leads back to.
func (in *Inputs) Fields(name string, v any) {
	f := fields{in: in}
	f.add(name, reflect.ValueOf(v), true)
}

// describe adds the declared inputs of a value or, if it declares none, the fields of
// what it wraps.
func describe[V any](in *Inputs, name string, v V) {
	if d, ok := As[InputDeclarer](v); ok {
		var declared Inputs
		if d.DeclareInputs(&declared) == nil {
			in.join(name, &declared)
			return
		}
	}
	for {
		w, ok := any(v).(Wrapper[V])
		if !ok {
			break
		}
		v = w.Unwrap()
	}
	f := fields{in: in}
	f.add(name, reflect.ValueOf(v), false)
}

// join adds the lines of other below name.
func (in *Inputs) join(name string, other *Inputs) {
	for _, line := range other.lines {
		in.add(name+"/"+line.name, line.value)
	}
}

// fields adds the fields of one value.
type fields struct {
	in   *Inputs
	path []uintptr // of the pointers above, against cycles
}

// deepest limits how far fields follows values.
const deepest = 40

func (f *fields) add(name string, v reflect.Value, top bool) {
	if !v.IsValid() || len(f.path) > deepest {
		f.in.add(name, "nil")
		return
	}
	// Only a value that declares its inputs is copied: another goroutine may be at work on
	// what a pointer leads to, such as a client.
	if !top && v.CanInterface() && v.Kind() != reflect.Interface && v.Type().Implements(reflect.TypeFor[InputDeclarer]()) && !isNil(v.Interface()) {
		var declared Inputs
		if d, ok := reflect.TypeAssert[InputDeclarer](v); ok && d.DeclareInputs(&declared) == nil {
			f.in.add(name, v.Type().String())
			f.in.join(name, &declared)
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		f.follow(name, v)
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		f.in.add(name, fmt.Sprintf("%s %t", v.Type(), v.IsNil()))
	case reflect.Struct:
		f.addStruct(name, v)
	case reflect.Slice, reflect.Array:
		f.addList(name, v)
	case reflect.Map:
		f.in.add(name, fmt.Sprintf("%s %d", v.Type(), v.Len()))
		f.addMap(name, v)
	default:
		f.in.add(name, v.Type().String()+" "+strconv.Quote(fmt.Sprint(v)))
	}
}

func (f *fields) follow(name string, v reflect.Value) {
	if v.IsNil() {
		f.in.add(name, "nil")
		return
	}
	var at uintptr
	if v.Kind() == reflect.Pointer {
		if at = v.Pointer(); slices.Contains(f.path, at) {
			f.in.add(name, "cycle")
			return
		}
	}
	f.path = append(f.path, at)
	f.add(name, v.Elem(), false)
	f.path = f.path[:len(f.path)-1]
}

func (f *fields) addStruct(name string, v reflect.Value) {
	t := v.Type()
	if s, ok := reflect.TypeAssert[Secret](v); ok {
		f.in.Secret(name, s)
		return
	}
	exported := reflect.VisibleFields(t)
	exported = slices.DeleteFunc(exported, func(field reflect.StructField) bool { return !field.IsExported() || len(field.Index) != 1 })
	f.in.add(name, t.String())
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok && len(exported) == 0 {
		text, err := m.MarshalText()
		f.in.add(name+"/text", strconv.Quote(fmt.Sprint(string(text), err)))
	}
	for _, field := range exported {
		f.add(name+"/"+field.Name, v.FieldByIndex(field.Index), false)
	}
}

func (f *fields) addList(name string, v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
		f.in.Content(name, v.Bytes())
		return
	}
	f.in.add(name, fmt.Sprintf("%s %d", v.Type(), v.Len()))
	f.path = append(f.path, 0)
	for i := range v.Len() {
		f.add(name+"/"+strconv.Itoa(i), v.Index(i), false)
	}
	f.path = f.path[:len(f.path)-1]
}

// addMap adds the entries of a map. Entries have the digest of their key in their name,
// so their order does not matter.
func (f *fields) addMap(name string, v reflect.Value) {
	for entries := v.MapRange(); entries.Next(); {
		var key Inputs
		k := fields{in: &key, path: append(slices.Clone(f.path), 0)}
		k.add("key", entries.Key(), false)
		f.path = append(f.path, 0)
		f.add(name+"/"+key.Sum(), entries.Value(), false)
		f.path = f.path[:len(f.path)-1]
	}
}
