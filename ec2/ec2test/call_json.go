package ec2test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// jsonAction is a call of a service with a JSON protocol.
type jsonAction struct {
	name   string
	input  reflect.Type
	output reflect.Type
	run    func(c *call, body []byte) (any, *ec2query.Error)
}

// jsonHandle returns an action that decodes its parameters and calls f with the
// region locked.
func jsonHandle[In, Out any](name string, f func(*call, *In) (*Out, *ec2query.Error)) jsonAction {
	return jsonAction{name: name, input: reflect.TypeFor[In](), output: reflect.TypeFor[Out](), run: func(c *call, body []byte) (any, *ec2query.Error) {
		in := new(In)
		if err := decodeJSON(body, in); err != nil {
			return nil, err
		}
		out, err := f(c, in)
		if err != nil {
			return nil, err
		}
		return out, nil
	}}
}

func jsonTable(list ...jsonAction) map[string]jsonAction {
	table := make(map[string]jsonAction, len(list))
	for _, a := range list {
		table[a.name] = a
	}
	return table
}

// runJSON handles a call of a service with a JSON protocol. The func failed
// encodes an error as the service does.
func (s *Server) runJSON(table map[string]jsonAction, req *request, failed func(*ec2query.Error) response) response {
	act, ok := table[req.action]
	if !ok {
		return failed(ec2query.Errorf("UnknownOperationException", "%s is not supported by ec2test", req.action))
	}
	r := s.region(req.region)
	if r == nil {
		return failed(ec2query.OptInRequired(req.region))
	}
	c := &call{region: r, action: action{name: act.name}, account: req.account, form: url.Values{}}
	body, err := c.locked(func() (any, *ec2query.Error) { return act.run(c, req.body) })
	if err != nil {
		return failed(err)
	}
	return jsonResponse(http.StatusOK, "", body)
}

// jsonResponse returns a response of the JSON protocol.
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

// jsonNames returns the names of the members of a struct for COVERAGE.md. The
// index of a list's element is written N.
func jsonNames(t reflect.Type, prefix string) []string {
	var names []string
	for f := range t.Fields() {
		name, ft := f.Name, f.Type
		tagged, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		name = prefix + orText(tagged, name)
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
