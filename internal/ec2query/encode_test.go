package ec2query_test

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type item struct {
	Name string `xml:"name"`
}

type output struct {
	ID      string                  `xml:"imageId"`
	Items   ec2query.Set[item]      `xml:"itemSet"`
	None    ec2query.Set[item]      `xml:"noneSet"`
	Omitted *ec2query.Set[item]     `xml:"omittedSet,omitempty"`
	Value   *ec2query.Value[string] `xml:"kernel,omitempty"`
}

func TestEncodeResponse(t *testing.T) {
	body, err := ec2query.EncodeResponse("DescribeIt", "req-1", output{
		ID:      "ami-1",
		Items:   ec2query.MapSet([]string{"a", "b"}, func(s string) item { return item{s} }),
		Omitted: ec2query.Optional(ec2query.SetOf[item]()),
		Value:   ec2query.ValueOf("6.1"),
	})
	checkXML(t, "EncodeResponse", body, err, `<DescribeItResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>req-1</requestId>`+
		`<imageId>ami-1</imageId><itemSet><item><name>a</name></item><item><name>b</name></item></itemSet><noneSet></noneSet>`+
		`<kernel><value>6.1</value></kernel></DescribeItResponse>`)
	body, err = ec2query.EncodeError(ec2query.Errorf("Bad", "<%s>", "x"), "req-2")
	checkXML(t, "EncodeError", body, err,
		`<Response><Errors><Error><Code>Bad</Code><Message>&lt;x&gt;</Message></Error></Errors><RequestID>req-2</RequestID></Response>`)
}

func TestEncodePlainResponse(t *testing.T) {
	type result struct {
		Names ec2query.Members[string]  `xml:"Names"`
		None  *ec2query.Members[string] `xml:"None,omitempty"`
	}
	const space = "https://iam.amazonaws.com/doc/2010-05-08/"
	body, err := ec2query.EncodePlainResponse(space, "List", "req-1", &result{
		Names: ec2query.MembersOf("a", "b"), None: ec2query.OptionalMembers[string](nil),
	})
	checkXML(t, "EncodePlainResponse", body, err, `<ListResponse xmlns="`+space+`"><ListResult><Names><member>a</member><member>b</member></Names></ListResult>`+
		`<ResponseMetadata><RequestId>req-1</RequestId></ResponseMetadata></ListResponse>`)
	body, err = ec2query.EncodePlainResponse(space, "Delete", "req-2", &ec2query.Empty{})
	checkXML(t, "EncodePlainResponse of Empty", body, err,
		`<DeleteResponse xmlns="`+space+`"><ResponseMetadata><RequestId>req-2</RequestId></ResponseMetadata></DeleteResponse>`)
	for status, fault := range map[int]string{http.StatusConflict: "Sender", http.StatusInternalServerError: "Receiver"} {
		body, err = ec2query.EncodePlainError(&ec2query.Error{Code: "Bad", Message: "no", Status: status}, "req-3")
		checkXML(t, "EncodePlainError", body, err, `<ErrorResponse><Error><Type>`+fault+`</Type><Code>Bad</Code><Message>no</Message></Error>`+
			`<RequestId>req-3</RequestId></ErrorResponse>`)
	}
}

func checkXML(t *testing.T, call string, body []byte, err error, want string) {
	t.Helper()
	got := strings.TrimPrefix(string(body), `<?xml version="1.0" encoding="UTF-8"?>`+"\n")
	if err != nil || got != want {
		t.Errorf("%s = %s, %v\nwant %s", call, got, err, want)
	}
}

func TestFlatten(t *testing.T) {
	got := ec2query.Flatten(url.Values{"Names.member.1": {"a"}, "Tags.member.1.Key": {"k"}, "Action": {"List"}})
	want := url.Values{"Names.1": {"a"}, "Tags.1.Key": {"k"}, "Action": {"List"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Flatten (-want +got):\n%s", diff)
	}
}

func TestResultNames(t *testing.T) {
	got := ec2query.ResultNames(reflect.TypeFor[output]())
	want := []string{"imageId", "itemSet.item.name", "noneSet.item.name", "omittedSet.item.name", "kernel.value"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ResultNames (-want +got):\n%s", diff)
	}
}

func TestFormatTime(t *testing.T) {
	at := time.Date(2026, 11, 29, 11, 0, 0, 5e6, time.FixedZone("", 3600))
	for _, test := range []struct {
		at   time.Time
		want string
	}{{at, "2026-11-29T10:00:00.005Z"}, {time.Time{}, ""}} {
		if got := ec2query.FormatTime(test.at); got != test.want {
			t.Errorf("FormatTime(%v) = %q, want %q", test.at, got, test.want)
		}
	}
}
