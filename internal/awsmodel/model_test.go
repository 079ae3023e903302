package awsmodel_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/awsmodel"
)

// smallModel has one action with output and one without.
const smallModel = `{
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
	m, err := awsmodel.Read(strings.NewReader(smallModel))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCheckResponse(t *testing.T) {
	wrap := func(inner string) string {
		return "<DescribeThingsResponse><requestId>r</requestId><thingSet><item>" + inner + "</item></thingSet></DescribeThingsResponse>"
	}
	for name, test := range map[string]struct {
		action, body string
		want         []string
	}{
		"valid": {"DescribeThings", wrap(`<state>pending</state><size>8</size><made>2026-11-21T05:00:00.000Z</made><good>true</good><price>0.5</price>`), nil},
		"empty": {
			"DescribeThings", `<DescribeThingsResponse><requestId>r</requestId><thingSet/></DescribeThingsResponse>`, nil,
		},
		"unknown member":      {"DescribeThings", wrap(`<statte>pending</statte>`), []string{"DescribeThings.thingSet.item.statte is not in the model"}},
		"outside enumeration": {"DescribeThings", wrap(`<state>fine</state>`), []string{`DescribeThings.thingSet.item.state: invalid State "fine"`}},
		"invalid integer":     {"DescribeThings", wrap(`<size>big</size>`), []string{`DescribeThings.thingSet.item.size: invalid Integer "big"`}},
		"invalid timestamp":   {"DescribeThings", wrap(`<made>today</made>`), []string{`DescribeThings.thingSet.item.made: invalid Time "today"`}},
		"invalid boolean":     {"DescribeThings", wrap(`<good>1</good>`), []string{`DescribeThings.thingSet.item.good: invalid Boolean "1"`}},
		"invalid double":      {"DescribeThings", wrap(`<price></price>`), []string{`DescribeThings.thingSet.item.price: invalid Double ""`}},
		"repeated member":     {"DescribeThings", wrap(`<size>1</size><size>2</size>`), []string{"DescribeThings.thingSet.item.size is repeated"}},
		"text in structure":   {"DescribeThings", wrap(`pending`), []string{`DescribeThings.thingSet.item is text "pending", not a structure`}},
		"wrong element name": {
			"DescribeThings", `<DescribeThingsResponse><thingSet><member/></thingSet></DescribeThingsResponse>`,
			[]string{"DescribeThings.thingSet.member is not in the model"},
		},
		"without output": {"DropThing", `<DropThingResponse><return>true</return></DropThingResponse>`, nil},
		"member without output": {
			"DropThing", `<DropThingResponse><id>1</id></DropThingResponse>`, []string{"DropThing.id is not in the model"},
		},
		"unknown action": {"MakeThing", `<MakeThingResponse/>`, []string{"unknown action MakeThing"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := model(t).CheckResponse(test.action, []byte(test.body)); !slices.Equal(got, test.want) {
				t.Errorf("CheckResponse(%s, %s) = %q, want %q", test.action, test.body, got, test.want)
			}
		})
	}
}

func TestCheckParam(t *testing.T) {
	m := model(t)
	for path, want := range map[string]string{
		"Filter.N.Value.N": "", "ThingId": "",
		"thingId": "Ask has no thingId", "Filter.N": "is a structure", "Filter.N.Name": "Filter has no Name", "ThingId.N": "without N",
	} {
		if err := m.CheckParam("DescribeThings", path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckParam(DescribeThings, %s) = %v, want %q", path, err, want)
		}
	}
	if err := m.CheckParam("MakeThing", "Id"); err == nil {
		t.Error("CheckParam of an unknown action succeeded, want an error")
	}
}

func TestCheckMember(t *testing.T) {
	m := model(t)
	for path, want := range map[string]string{
		"thingSet.item.state": "", "thingSet.member.state": "are not named member", "thingSet.item": "is a structure", "thing.item.state": "Things has no thing",
	} {
		if err := m.CheckMember("DescribeThings", path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckMember(DescribeThings, %s) = %v, want %q", path, err, want)
		}
	}
	if err := m.CheckMember("DropThing", "return"); err == nil {
		t.Error("CheckMember of an action without output succeeded, want an error")
	}
}
