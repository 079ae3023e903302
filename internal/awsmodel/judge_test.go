package awsmodel_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/awsmodel"
)

// small is a model of a service with one action that answers and one that does
// not.
const small = `{
	"metadata": {"protocol": "ec2"},
	"operations": {
		"DescribeThings": {"input": {"shape": "Ask"}, "output": {"shape": "Things"}},
		"DropThing": {"input": {"shape": "Ask"}}
	},
	"shapes": {
		"Ask": {"type": "structure", "members": {
			"Filters": {"shape": "Filters", "locationName": "Filter"}, "Id": {"shape": "String", "locationName": "thingId"}
		}},
		"Filters": {"type": "list", "member": {"shape": "Filter", "locationName": "Filter"}},
		"Filter": {"type": "structure", "members": {"Values": {"shape": "Strings", "locationName": "Value"}}},
		"Strings": {"type": "list", "member": {"shape": "String", "locationName": "item"}},
		"Things": {"type": "structure", "members": {"Things": {"shape": "ThingList", "locationName": "thingSet"}}},
		"ThingList": {"type": "list", "member": {"shape": "Thing", "locationName": "item"}},
		"Thing": {"type": "structure", "members": {
			"State": {"shape": "State", "locationName": "state"}, "Size": {"shape": "Integer", "locationName": "size"},
			"Made": {"shape": "Time", "locationName": "made"}, "Good": {"shape": "Boolean", "locationName": "good"},
			"Price": {"shape": "Double", "locationName": "price"}
		}},
		"State": {"type": "string", "enum": ["pending", "available"]}, "String": {"type": "string"}, "Integer": {"type": "integer"},
		"Time": {"type": "timestamp"}, "Boolean": {"type": "boolean"}, "Double": {"type": "double"}
	}
}`

func model(t *testing.T) *awsmodel.Model {
	t.Helper()
	m, err := awsmodel.Read(strings.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestJudge(t *testing.T) {
	wrap := func(inner string) string {
		return "<DescribeThingsResponse><requestId>r</requestId><thingSet><item>" + inner + "</item></thingSet></DescribeThingsResponse>"
	}
	for name, test := range map[string]struct {
		action, body string
		want         []string
	}{
		"good": {"DescribeThings", wrap(`<state>pending</state><size>8</size><made>2026-11-21T05:00:00.000Z</made><good>true</good><price>0.5</price>`), nil},
		"empty": {
			"DescribeThings", `<DescribeThingsResponse><requestId>r</requestId><thingSet/></DescribeThingsResponse>`, nil,
		},
		"unknown member": {"DescribeThings", wrap(`<statte>pending</statte>`), []string{"DescribeThings.thingSet.item.statte is not in the model"}},
		"no value of it": {"DescribeThings", wrap(`<state>fine</state>`), []string{`DescribeThings.thingSet.item.state is "fine", which is no State of the model`}},
		"no number":      {"DescribeThings", wrap(`<size>big</size>`), []string{`DescribeThings.thingSet.item.size is "big", which is no Integer of the model`}},
		"no time":        {"DescribeThings", wrap(`<made>today</made>`), []string{`DescribeThings.thingSet.item.made is "today", which is no Time of the model`}},
		"no truth":       {"DescribeThings", wrap(`<good>1</good>`), []string{`DescribeThings.thingSet.item.good is "1", which is no Boolean of the model`}},
		"no price":       {"DescribeThings", wrap(`<price></price>`), []string{`DescribeThings.thingSet.item.price is "", which is no Double of the model`}},
		"twice":          {"DescribeThings", wrap(`<size>1</size><size>2</size>`), []string{"DescribeThings.thingSet.item.size is there twice"}},
		"text":           {"DescribeThings", wrap(`pending`), []string{`DescribeThings.thingSet.item is "pending" instead of a structure`}},
		"other elements": {
			"DescribeThings", `<DescribeThingsResponse><thingSet><member/></thingSet></DescribeThingsResponse>`,
			[]string{"DescribeThings.thingSet.member is not in the model"},
		},
		"done":           {"DropThing", `<DropThingResponse><return>true</return></DropThingResponse>`, nil},
		"more than done": {"DropThing", `<DropThingResponse><id>1</id></DropThingResponse>`, []string{"DropThing.id is not in the model"}},
		"no action":      {"MakeThing", `<MakeThingResponse/>`, []string{"there is no action MakeThing"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := model(t).Judge(test.action, []byte(test.body)); !slices.Equal(got, test.want) {
				t.Errorf("judged %q, want %q", got, test.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	m := model(t)
	for path, want := range map[string]string{
		"Filter.N.Value.N": "", "ThingId": "",
		"thingId": "Ask has no thingId", "Filter.N": "is a structure", "Filter.N.Name": "Filter has no Name", "ThingId.N": "has no N",
	} {
		if err := m.Param("DescribeThings", path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("parameter %s: %v, want %q", path, err, want)
		}
	}
	for path, want := range map[string]string{
		"thingSet.item.state": "", "thingSet.member.state": "are not called member", "thingSet.item": "is a structure", "thing.item.state": "Things has no thing",
	} {
		if err := m.Answer("DescribeThings", path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("answer %s: %v, want %q", path, err, want)
		}
	}
	if err := m.Answer("DropThing", "return"); err == nil {
		t.Error("what answers nothing has a member")
	}
	if err := m.Param("MakeThing", "Id"); err == nil {
		t.Error("an action that there is not has a parameter")
	}
}
