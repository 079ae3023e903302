package ec2query_test

import (
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type tag struct {
	Key   string  `ec2:"Key,required"`
	Value *string // absent and empty differ
}

type page struct {
	MaxResults *int
}

type input struct {
	ID      string `ec2:"ImageId,required"`
	Mode    string `ec2:"Mode,oneof=fast|slow"`
	Force   bool
	Data    []byte
	At      time.Time
	Group   []string
	Options *struct{ Tag []tag }
	page
}

func TestDecode(t *testing.T) {
	form := url.Values{
		"Action": {"DoIt"}, "Version": {"2016-11-15"}, "X-Amz-Date": {"20261129"},
		"ImageId": {"ami-1"}, "Mode": {"slow"}, "Force": {"true"}, "Data": {"aGk="}, "At": {"2026-11-29T10:00:00Z"},
		"Group.2": {"b"}, "Group.10": {"c"}, "Group.1": {"a"},
		"Options.Tag.1.Key": {"k"}, "Options.Tag.1.Value": {""}, "Options.Tag.2.Key": {"l"},
		"MaxResults": {"5"}, "DryRun": {"true"},
	}
	want := input{
		ID: "ami-1", Mode: "slow", Force: true, Data: []byte("hi"), At: time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC),
		Group: []string{"a", "b", "c"}, Options: &struct{ Tag []tag }{[]tag{{Key: "k", Value: new("")}, {Key: "l"}}},
		page: page{MaxResults: new(5)},
	}
	var got input
	dry, err := ec2query.Decode(form, &got)
	if err != nil || !dry {
		t.Fatalf("Decode = %v, %v, want true, nil", dry, err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(input{})); diff != "" {
		t.Errorf("Decode (-want +got):\n%s", diff)
	}
}

func TestDecodeErrors(t *testing.T) {
	for name, test := range map[string]struct {
		form url.Values
		code string
		text string
	}{
		"missing":                {url.Values{}, "MissingParameter", "The request must contain the parameter ImageId"},
		"missing in a list":      {url.Values{"ImageId": {"a"}, "Options.Tag.1.Value": {"v"}}, "MissingParameter", "The request must contain the parameter Options.Tag.1.Key"},
		"unknown":                {url.Values{"ImageId": {"a"}, "Colour": {"red"}}, "UnknownParameter", "The parameter Colour is not recognized"},
		"unknown before missing": {url.Values{"Imageid": {"a"}}, "UnknownParameter", "The parameter Imageid is not recognized"},
		"unknown member":         {url.Values{"ImageId": {"a"}, "Options.Tag.1.Name": {"k"}}, "UnknownParameter", "The parameter Options.Tag.1.Name is not recognized"},
		"member of a scalar":     {url.Values{"ImageId.Value": {"a"}}, "UnknownParameter", "The parameter ImageId.Value is not recognized"},
		"list without index":     {url.Values{"ImageId": {"a"}, "Group.x": {"b"}}, "UnknownParameter", "The parameter Group.x is not recognized"},
		"not a choice":           {url.Values{"ImageId": {"a"}, "Mode": {"fas"}}, "InvalidParameterValue", "Value (fas) for parameter Mode is invalid. Valid values are: fast, slow"},
		"not a bool":             {url.Values{"ImageId": {"a"}, "Force": {"yes"}}, "InvalidParameterValue", "Value (yes) for parameter Force is invalid. It must be true or false."},
		"not a number":           {url.Values{"ImageId": {"a"}, "MaxResults": {"5.0"}}, "InvalidParameterValue", "Value (5.0) for parameter MaxResults is invalid. It must be a number."},
		"not base64":             {url.Values{"ImageId": {"a"}, "Data": {"%"}}, "InvalidParameterValue", "Value (...) for parameter Data is invalid. Invalid BASE64 encoding."},
		"bad dry run":            {url.Values{"ImageId": {"a"}, "DryRun": {"maybe"}}, "InvalidParameterValue", "Value (maybe) for parameter DryRun is invalid. It must be true or false."},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ec2query.Decode(test.form, new(input))
			if err == nil || err.Code != test.code || err.Message != test.text || err.Status != 400 {
				t.Errorf("Decode(%v) = %+v, want %s: %s", test.form, err, test.code, test.text)
			}
		})
	}
}

func TestParamNames(t *testing.T) {
	got := ec2query.ParamNames(reflect.TypeFor[input]())
	want := []string{"ImageId", "Mode", "Force", "Data", "At", "Group.N", "Options.Tag.N.Key", "Options.Tag.N.Value", "MaxResults"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ParamNames (-want +got):\n%s", diff)
	}
}

func TestIsProtocolKey(t *testing.T) {
	for key, want := range map[string]bool{"Action": true, "X-Amz-Security-Token": true, "DryRun": false, "ImageId": false} {
		if got := ec2query.IsProtocolKey(key); got != want {
			t.Errorf("IsProtocolKey(%q) = %v, want %v", key, got, want)
		}
	}
}
