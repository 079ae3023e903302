package ec2test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// handleJSON returns an action of a JSON protocol that decodes its parameters
// and calls f with the region locked.
func handleJSON[In, Out any](name string, f func(*call, *In) (*Out, *ec2query.Error)) action {
	return action{
		name:   name,
		input:  reflect.TypeFor[In](),
		output: reflect.TypeFor[Out](),
		json:   true,
		run: func(c *call, req *request) (any, *ec2query.Error) {
			in := new(In)
			if err := decodeJSON(req.body, in); err != nil {
				return nil, err
			}
			out, err := f(c, in)
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}

// json handles a call of a service with a JSON protocol.
func (s *Server) json(ctx context.Context, req *request) response {
	body, err := s.run(ctx, req)
	if err != nil {
		return s.errorResponse(req, err)
	}
	return jsonResponse(http.StatusOK, "", body)
}

// jsonResponse returns a response of a JSON protocol.
func jsonResponse(status int, code string, body any) response {
	encoded, err := json.Marshal(body)
	if err != nil {
		return response{status: http.StatusInternalServerError, contentType: "application/x-amz-json-1.1", code: "InternalServerError"}
	}
	return response{status: status, contentType: "application/x-amz-json-1.1", body: encoded, code: code}
}

// decodeJSON decodes a request into a struct, and rejects unknown members. An
// empty body is an empty request.
func decodeJSON(body []byte, into any) *ec2query.Error {
	if len(body) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return ec2query.Errorf("ValidationException", "%v", err)
	}
	return nil
}

// jsonNames returns the names of the members of a struct for the coverage page. The
// index of a list's element is written N.
func jsonNames(t reflect.Type, prefix string) []string {
	var names []string
	for f := range t.Fields() {
		name, ft := f.Name, f.Type
		tagged, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		name = prefix + cmp.Or(tagged, name)
		for ft.Kind() == reflect.Slice || ft.Kind() == reflect.Pointer {
			if ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct {
				name += ".N"
			}
			ft = ft.Elem()
		}
		if f.Anonymous {
			names = append(names, jsonNames(ft, prefix)...)
			continue
		}
		if ft.Kind() == reflect.Struct {
			names = append(names, jsonNames(ft, name+".")...)
			continue
		}
		names = append(names, name)
	}
	return names
}
