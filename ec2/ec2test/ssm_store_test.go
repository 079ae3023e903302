package ec2test_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func parameters(t *testing.T) (*ec2test.Server, *ssm.Client) {
	t.Helper()
	srv, _ := start(t, nil)
	return srv, ssm.NewFromConfig(srv.Config(region), func(o *ssm.Options) { o.Retryer = aws.NopRetryer{} })
}

func putParameter(t *testing.T, p *ssm.Client, name, value string, with func(*ssm.PutParameterInput)) error {
	t.Helper()
	in := &ssm.PutParameterInput{Name: &name, Value: &value, Type: ssmtypes.ParameterTypeString}
	if with != nil {
		with(in)
	}
	_, err := p.PutParameter(t.Context(), in)
	return err
}

func overwrite(in *ssm.PutParameterInput) { in.Overwrite = aws.Bool(true) }

func TestPutParameterErrors(t *testing.T) {
	_, p := parameters(t)
	if err := putParameter(t, p, "/big", strings.Repeat("x", 4097), func(in *ssm.PutParameterInput) { in.Tier = "Intelligent-Tiering" }); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, value string
		with        func(*ssm.PutParameterInput)
		want        string
	}{
		{"/a", "x", func(in *ssm.PutParameterInput) { in.Type = "Number" }, "ValidationException"},
		{"/a", "x", func(in *ssm.PutParameterInput) { in.Type = "" }, "ValidationException"},
		{"/a", "x", func(in *ssm.PutParameterInput) { in.DataType = aws.String("not_ec2") }, "ValidationException"},
		{"/a", "x", func(in *ssm.PutParameterInput) { in.Tier = "Best" }, "ValidationException"},
		{"/a", "", nil, "ValidationException"},
		{"/a", "x", func(in *ssm.PutParameterInput) { in.KeyId = aws.String("alias/a") }, "ValidationException"},
		{"/a", strings.Repeat("x", 4097), nil, "ValidationException"},
		{"/a", strings.Repeat("x", 8193), func(in *ssm.PutParameterInput) { in.Tier = "Advanced" }, "ValidationException"},
		{"/a", "abc", func(in *ssm.PutParameterInput) { in.AllowedPattern = aws.String(`^\d+$`) }, "ParameterPatternMismatchException"},
		{"/a", "abc", func(in *ssm.PutParameterInput) { in.AllowedPattern = aws.String(`(`) }, "InvalidAllowedPatternException"},
		{"/a", "x", func(in *ssm.PutParameterInput) {
			in.Overwrite, in.Tags = aws.Bool(true), []ssmtypes.Tag{{Key: aws.String("a"), Value: aws.String("b")}}
		}, "ValidationException"},
		{"/big", "x", func(in *ssm.PutParameterInput) { in.Overwrite, in.Tier = aws.Bool(true), "Standard" }, "ValidationException"},
		{"/big", strings.Repeat("x", 5000), overwrite, ""},
		{"/aws/service/x", "x", nil, "AccessDeniedException"},
		{"/aws_x", "x", nil, "ValidationException"},
		{"AWS", "x", nil, "ValidationException"},
		{"/ssm/x", "x", nil, "ValidationException"},
		{"ssm-x", "x", nil, "ValidationException"},
		{"a/b", "x", nil, "ValidationException"},
		{"/a//b", "x", nil, "ValidationException"},
		{"/a b", "x", nil, "ValidationException"},
		{"/a:1", "x", nil, "ValidationException"},
		{strings.Repeat("/a", 15), "x", nil, ""},
		{strings.Repeat("/a", 16), "x", nil, "HierarchyLevelLimitExceededException"},
	} {
		if err := putParameter(t, p, test.name, test.value, test.with); code(err) != test.want {
			t.Errorf("PutParameter of %s = %v, want %q", test.name, err, test.want)
		}
	}
}

// A parameter has its attributes in all versions, and can be named in each way.
func TestParameterKeepsAttributes(t *testing.T) {
	srv, p := parameters(t)
	err := putParameter(t, p, "x", "1", func(in *ssm.PutParameterInput) {
		in.Description, in.AllowedPattern, in.Tier = aws.String("number"), aws.String(`^\d+$`), "Advanced"
		in.Tags = []ssmtypes.Tag{{Key: aws.String("team"), Value: aws.String("web")}}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := putParameter(t, p, "/x", "2", nil); code(err) != "ParameterAlreadyExists" {
		t.Errorf("PutParameter of /x after x = %v, want ParameterAlreadyExists", err)
	}
	if err := putParameter(t, p, "/x", "2", overwrite); err != nil {
		t.Error(err)
	}
	must(p.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: aws.String("x"), ParameterVersion: aws.Int64(1), Labels: []string{"prod"}}))(t)
	listed := must(p.DescribeParameters(t.Context(), nil))(t).Parameters
	if len(listed) != 1 || *listed[0].Name != "x" || *listed[0].Description != "number" || *listed[0].AllowedPattern != `^\d+$` || listed[0].Tier != "Advanced" || listed[0].Version != 2 {
		t.Errorf("DescribeParameters = %+v, want x with its attributes in version 2", listed)
	}
	history := must(p.GetParameterHistory(t.Context(), &ssm.GetParameterHistoryInput{Name: aws.String("/x")}))(t).Parameters
	if len(history) != 2 || *history[0].Value != "1" || !slices.Equal(history[0].Labels, []string{"prod"}) || len(history[1].Labels) != 0 {
		t.Errorf("GetParameterHistory = %+v, want two versions, the first with a label", history)
	}
	arn := *listed[0].ARN
	for name, want := range map[string]string{
		"x": "2", "/x": "2", "x:1": "1", "/x:prod": "1", arn: "2", arn + ":1": "1", arn + ":prod": "1",
	} {
		got, err := p.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String(name)})
		if err != nil || *got.Parameter.Value != want || *got.Parameter.Name != "x" {
			t.Errorf("GetParameter of %s = %+v, %v, want %s", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"x:9": "ParameterVersionNotFound", "x:other": "ParameterVersionNotFound", "y": "ParameterNotFound", "y:1": "ParameterNotFound",
		strings.Replace(arn, region, "eu-west-1", 1): "ParameterNotFound", "arn:aws:iam::" + account + ":role/x": "ValidationException",
	} {
		if _, err := p.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String(name)}); code(err) != want {
			t.Errorf("GetParameter of %s = %v, want %s", name, err, want)
		}
	}
	several := must(p.GetParameters(t.Context(), &ssm.GetParametersInput{Names: []string{"x:prod", "x:9", "y"}}))(t)
	if len(several.Parameters) != 1 || *several.Parameters[0].Selector != ":prod" || !slices.Equal(several.InvalidParameters, []string{"x:9", "y"}) {
		t.Errorf("GetParameters = %+v, want one, and two invalid", several)
	}
	if value, ok := srv.Parameter(region, "/x:prod"); !ok || value != "1" {
		t.Errorf("Parameter = %q, %v, want 1", value, ok)
	}

	tags := func(change func(kind ssmtypes.ResourceTypeForTagging, id *string) error) string {
		if err := change(ssmtypes.ResourceTypeForTaggingParameter, aws.String("x")); err != nil {
			t.Error(err)
		}
		var out []string
		for _, tag := range must(p.ListTagsForResource(t.Context(), &ssm.ListTagsForResourceInput{ResourceType: "Parameter", ResourceId: aws.String("/x")}))(t).TagList {
			out = append(out, *tag.Key+"="+*tag.Value)
		}
		return strings.Join(out, " ")
	}
	added := tags(func(kind ssmtypes.ResourceTypeForTagging, id *string) error {
		_, err := p.AddTagsToResource(t.Context(), &ssm.AddTagsToResourceInput{ResourceType: kind, ResourceId: id, Tags: []ssmtypes.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
		return err
	})
	removed := tags(func(kind ssmtypes.ResourceTypeForTagging, id *string) error {
		_, err := p.RemoveTagsFromResource(t.Context(), &ssm.RemoveTagsFromResourceInput{ResourceType: kind, ResourceId: id, TagKeys: []string{"team"}})
		return err
	})
	if added != "a=b team=web" || removed != "a=b" {
		t.Errorf("tags = %q and then %q, want two and then one", added, removed)
	}
	for kind, want := range map[ssmtypes.ResourceTypeForTagging]string{"Parameter": "InvalidResourceId", "Document": "InvalidResourceType"} {
		if _, err := p.ListTagsForResource(t.Context(), &ssm.ListTagsForResourceInput{ResourceType: kind, ResourceId: aws.String("none")}); code(err) != want {
			t.Errorf("ListTagsForResource of an unknown %s = %v, want %s", kind, err, want)
		}
	}
}

func TestParameterVersions(t *testing.T) {
	_, p := parameters(t)
	for range 100 {
		if err := putParameter(t, p, "/x", "v", overwrite); err != nil {
			t.Fatal(err)
		}
	}
	label := func(version int64, labels ...string) (*ssm.LabelParameterVersionOutput, error) {
		return p.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: aws.String("/x"), ParameterVersion: &version, Labels: labels})
	}
	out := must(label(1, "prod", "aws-x", "9x", "a b"))(t)
	if !slices.Equal(out.InvalidLabels, []string{"aws-x", "9x", "a b"}) || out.ParameterVersion != 1 {
		t.Errorf("LabelParameterVersion = %+v, want three invalid labels", out)
	}
	if err := putParameter(t, p, "/x", "v", overwrite); code(err) != "ParameterMaxVersionLimitExceeded" {
		t.Errorf("PutParameter of version 101 = %v, want ParameterMaxVersionLimitExceeded", err)
	}
	must(label(50, "prod"))(t) // moves it
	if err := putParameter(t, p, "/x", "v", overwrite); err != nil {
		t.Errorf("PutParameter of version 101 without a label on the first = %v, want nil", err)
	}
	if _, err := label(1, "old"); code(err) != "ParameterVersionNotFound" {
		t.Errorf("LabelParameterVersion of the removed version = %v, want ParameterVersionNotFound", err)
	}
	if _, err := label(50, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"); code(err) != "ParameterVersionLabelLimitExceeded" {
		t.Errorf("LabelParameterVersion of eleven labels = %v, want ParameterVersionLabelLimitExceeded", err)
	}
	gone := must(p.UnlabelParameterVersion(t.Context(), &ssm.UnlabelParameterVersionInput{Name: aws.String("/x"), ParameterVersion: aws.Int64(50), Labels: []string{"prod", "none"}}))(t)
	if !slices.Equal(gone.RemovedLabels, []string{"prod"}) || !slices.Equal(gone.InvalidLabels, []string{"none"}) {
		t.Errorf("UnlabelParameterVersion = %+v, want prod removed and none invalid", gone)
	}
}

func TestParameterFilters(t *testing.T) {
	_, p := parameters(t)
	for name, with := range map[string]func(*ssm.PutParameterInput){
		"/app/db/host": func(in *ssm.PutParameterInput) {
			in.Tags = []ssmtypes.Tag{{Key: aws.String("team"), Value: aws.String("data")}}
		},
		"/app/db/password": func(in *ssm.PutParameterInput) { in.Type = ssmtypes.ParameterTypeSecureString },
		"/app/color":       nil,
		"flat":             func(in *ssm.PutParameterInput) { in.Tier = ssmtypes.ParameterTierAdvanced },
	} {
		if err := putParameter(t, p, name, "v", with); err != nil {
			t.Fatal(err)
		}
	}
	type filters = []ssmtypes.ParameterStringFilter
	by := func(key, option string, values ...string) ssmtypes.ParameterStringFilter {
		f := ssmtypes.ParameterStringFilter{Key: &key, Values: values}
		if option != "" {
			f.Option = &option
		}
		return f
	}
	for _, test := range []struct {
		filters filters
		want    string // names, or an error code
	}{
		{filters{by("Path", "", "/app")}, "/app/color"},
		{filters{by("Path", "Recursive", "/app/db", "/none")}, "/app/db/host /app/db/password"},
		{filters{by("Path", "Recursive", "/")}, "/app/color /app/db/host /app/db/password flat"},
		{filters{by("Name", "", "/flat", "/app/color")}, "/app/color flat"},
		{filters{by("Name", "Contains", "db")}, "/app/db/host /app/db/password"},
		{filters{by("Name", "BeginsWith", "/app"), by("Type", "", "SecureString")}, "/app/db/password"},
		{filters{by("KeyId", "", "alias/aws/ssm")}, "/app/db/password"},
		{filters{by("Tier", "", "Advanced")}, "flat"},
		{filters{by("tag:team", "", "data")}, "/app/db/host"},
		{filters{by("tag:team", "")}, "/app/db/host"},
		{filters{by("Path", "", "app")}, "ValidationException"},
		{filters{by("Path", "", "/aws/service")}, "ValidationException"},
		{filters{by("Path", "", "/ssm")}, "ValidationException"},
		{filters{by("Path", "Equals", "/app")}, "InvalidFilterOption"},
		{filters{by("Type", "", "Number")}, "InvalidFilterOption"},
		{filters{by("Name", "")}, "InvalidFilterValue"},
		{filters{by("Name", "", "a"), by("Name", "", "b")}, "InvalidFilterKey"},
		{filters{by("Label", "", "a")}, "InvalidFilterKey"},
		{filters{by("Color", "", "a")}, "ValidationException"},
	} {
		out, err := p.DescribeParameters(t.Context(), &ssm.DescribeParametersInput{ParameterFilters: test.filters})
		got := code(err)
		if err == nil {
			var names []string
			for _, found := range out.Parameters {
				names = append(names, *found.Name)
			}
			got = strings.Join(names, " ")
		}
		if got != test.want {
			t.Errorf("DescribeParameters with %s %v = %q (%v), want %q", *test.filters[0].Key, test.filters[0].Values, got, err, test.want)
		}
	}
	must(p.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: aws.String("/app/color"), Labels: []string{"blue"}}))(t)
	labeled := must(p.GetParametersByPath(t.Context(), &ssm.GetParametersByPathInput{Path: aws.String("/app/"), ParameterFilters: filters{by("Label", "", "blue")}}))(t).Parameters
	if len(labeled) != 1 || *labeled[0].Name != "/app/color" {
		t.Errorf("GetParametersByPath by label = %+v, want /app/color", labeled)
	}
	for _, test := range []struct {
		in   ssm.GetParametersByPathInput
		want string
	}{
		{ssm.GetParametersByPathInput{Path: aws.String("app")}, "ValidationException"},
		{ssm.GetParametersByPathInput{Path: aws.String("/app"), ParameterFilters: filters{by("Name", "", "x")}}, "InvalidFilterKey"},
		{ssm.GetParametersByPathInput{Path: aws.String("/app"), MaxResults: aws.Int32(11)}, "ValidationException"},
		{ssm.GetParametersByPathInput{Path: aws.String("/app"), NextToken: aws.String("x")}, "InvalidNextToken"},
	} {
		if _, err := p.GetParametersByPath(t.Context(), &test.in); code(err) != test.want {
			t.Errorf("GetParametersByPath of %s = %v, want %s", *test.in.Path, err, test.want)
		}
	}
	public := must(p.GetParametersByPath(t.Context(), &ssm.GetParametersByPathInput{Path: aws.String("/aws/service/ami-amazon-linux-latest")}))(t).Parameters
	if len(public) == 0 || strings.Count(*public[0].ARN, ":"+account+":") > 0 {
		t.Errorf("GetParametersByPath of a public path = %+v, want parameters of AWS", public)
	}
	secret := func(decrypt bool) string {
		return *must(p.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/app/db/password"), WithDecryption: &decrypt}))(t).Parameter.Value
	}
	if got := secret(false); secret(true) != "v" || got == "v" || got == "" {
		t.Errorf("GetParameter of a secret = %q, want v only with decryption", got)
	}
	gone := must(p.DeleteParameters(t.Context(), &ssm.DeleteParametersInput{Names: []string{"/flat", "none"}}))(t)
	if !slices.Equal(gone.DeletedParameters, []string{"/flat"}) || !slices.Equal(gone.InvalidParameters, []string{"none"}) {
		t.Errorf("DeleteParameters = %+v, want flat deleted and none invalid", gone)
	}
}
