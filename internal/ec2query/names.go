package ec2query

import (
	"reflect"
	"strings"
	"time"
)

// ParamNames returns the names of all parameters that [Decode] accepts for a
// struct type. The index of a list's element is written N:
// "TagSpecification.N.Tag.N.Key".
func ParamNames(t reflect.Type) []string { return paramNames(t, "") }

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

// ResultNames returns the paths of all elements with a value that the encoding
// of a struct type can have: "imagesSet.item.imageId".
func ResultNames(t reflect.Type) []string { return resultNames(t, "") }

func resultNames(t reflect.Type, prefix string) []string {
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("xml"), ",")
		name = strings.ReplaceAll(name, ">", ".")
		ft := f.Type
		for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		switch {
		case f.Anonymous:
			names = append(names, resultNames(ft, prefix)...)
		case ft.Kind() == reflect.Struct:
			names = append(names, resultNames(ft, prefix+name+".")...)
		default:
			names = append(names, prefix+name)
		}
	}
	return names
}
