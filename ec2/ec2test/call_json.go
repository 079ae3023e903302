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

// jsonAction is one call of a service that speaks JSON.
type jsonAction struct {
	name   string
	input  reflect.Type
	output reflect.Type
	run    func(c *call, body []byte) (any, *ec2query.Error)
}

// jsonHandle makes an action of a method of call. The method runs with the
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

// runJSON answers a call of a service that speaks JSON.
func (s *Server) runJSON(table map[string]jsonAction, req *request, failed func(*ec2query.Error) answer) answer {
	act, ok := table[req.action]
	if !ok {
		return failed(ec2query.Errorf("UnknownOperationException", "%s is not served here", req.action))
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
	return answerJSON(http.StatusOK, "", body)
}

// answerJSON is an answer of the JSON protocol.
func answerJSON(status int, code string, body any) answer {
	encoded, err := json.Marshal(body)
	if err != nil {
		return answer{status: http.StatusInternalServerError, contentType: "application/x-amz-json-1.1", code: "InternalServerError"}
	}
	return answer{status: status, contentType: "application/x-amz-json-1.1", body: encoded, code: code}
}

// decodeJSON refuses members that into has not got. No body is an empty one.
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

// jsonNames lists the members of an input struct for the coverage page, lists
// with N like those of the query protocol.
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
