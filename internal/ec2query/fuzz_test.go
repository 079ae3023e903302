package ec2query_test

import (
	"encoding/xml"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// everything has a field of each kind that the package decodes.
type everything struct {
	Name   string `ec2:",required"`
	Mode   string `ec2:",oneof=a|b"`
	Number *int
	Flag   *bool
	Data   []byte
	Time   *time.Time
	List   []string
	Nested []struct {
		Name string
		List []struct{ Key, Value string }
	}
	Struct *struct{ A, B int }
}

// FuzzDecode checks that any query form is decoded or refused, into no more than it
// contains.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"Action=X&Name=a&Mode=b&Number=-1&Flag=true&Data=YWE=&Time=2026-01-02T03:04:05Z&DryRun=true",
		"Name=a&List.1=x&List.999999999=y", "Name=a&Nested.1.List.2.Key=x&Nested.1.Name=y", "Name.1.1.1.1=a", "List.-1=a&List.01=b&List.1=c",
		"Struct.A=1&Struct.B=9223372036854775808", "Name=a&List=b&List.1=c", ".=&..=&Name..=a", "Nested.1=a", "DryRun.1=a", "Name=a&Data.1=a", "Name=a&Time.1=a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		form, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		var got everything
		if _, err := ec2query.Decode(form, &got); err != nil {
			if err.Code == "" || err.Message == "" {
				t.Errorf("Decode(%q) = %+v", query, err)
			}
			return
		}
		if got.Name == "" && form.Get("Name") != "" || got.Mode != "" && got.Mode != "a" && got.Mode != "b" {
			t.Errorf("Decode(%q) = %+v", query, got)
		}
		if n := len(got.List) + len(got.Nested); n > len(form) {
			t.Errorf("Decode(%q) has %d elements of lists", query, n)
		}
	})
}

// FuzzEncode checks that responses are well-formed, whatever strings they have.
func FuzzEncode(f *testing.F) {
	f.Add("]]>", "<&\x00\xff\ufffe")
	f.Fuzz(func(t *testing.T, code, message string) {
		type tag struct {
			Key   string `xml:"key"`
			Value string `xml:"value"`
		}
		type body struct {
			Text string            `xml:"text"`
			Tags ec2query.Set[tag] `xml:"tagSet"`
		}
		for _, encode := range []func() ([]byte, error){
			func() ([]byte, error) { return ec2query.EncodeError(ec2query.Errorf(code, "%s", message), "id") },
			func() ([]byte, error) {
				return ec2query.EncodeResponse("A", "id", body{message, ec2query.SetOf(tag{code, message})})
			},
		} {
			text, err := encode()
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Text    string `xml:"text"`
				Message string `xml:"Errors>Error>Message"`
			}
			if err := xml.Unmarshal(text, &got); err != nil {
				t.Errorf("encoded %q: %v", text, err)
			}
			if plain := strings.Map(printable, message); plain == message && got.Text+got.Message != message {
				t.Errorf("encoded %q becomes %q", message, got.Text+got.Message)
			}
		}
	})
}

// printable drops what XML cannot hold.
func printable(r rune) rune {
	if r < ' ' || r == '\ufffd' || r == '\ufffe' || r == '\uffff' {
		return -1
	}
	return r
}
