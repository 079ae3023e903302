package inuse_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/internal/testenv/pack"
)

func TestInText(t *testing.T) {
	const id, other = "ami-0123456789abcdef0", "ami-0badc0de"
	var wide []byte
	for _, unit := range utf16.Encode([]rune("\ufeffami = \"" + id + "\"\r\n")) {
		wide = binary.LittleEndian.AppendUint16(wide, unit)
	}
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"alone":             {id, []string{id}},
		"JSON":              {`{"eu-west-1":{"ami":"` + id + `"}}`, []string{id}},
		"JSON in JSON":      {`{"x":"{\"ami\":\"` + id + `\"}"}`, []string{id}},
		"region":            {"eu-west-1:" + id, []string{id}},
		"list":              {id + "," + other, []string{id, other}},
		"lines":             {"# images\r\n" + id + "\r\n\t" + other + "\n", []string{id, other}},
		"YAML and HCL":      {"ami: " + id + "\nami=\"" + other + "\"", []string{id, other}},
		"ARN":               {"arn:aws:ec2:eu-west-1::image/" + id, []string{id}},
		"URL":               {"https://console.aws.amazon.com/ec2/#ImageDetails:imageId=" + id + "&v=3", []string{id}},
		"punctuation":       {"(" + id + "). '" + other + "';", []string{id, other}},
		"upper case":        {strings.ToUpper(id) + " AMI-0BadC0de", []string{id, other}},
		"behind a word":     {"golden_" + id + "_v2", []string{id}},
		"twice":             {id + " " + id + " " + strings.ToUpper(id), []string{id}},
		"UTF-16":            {string(wide), []string{id}},
		"short old id":      {other, []string{other}},
		"no id":             {"ami-web ami-123 ami", nil},
		"Terraform's state": {`"id": "` + id + `",` + "\n" + `"image_id": null`, []string{id}},
	} {
		var got []string
		for _, ref := range inuse.InText(tt.text, "it") {
			got = append(got, ref.ImageID)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: InText(%q) (-want +got):\n%s", name, tt.text, diff)
		}
	}
}

// Every parameter counts, wherever it stands; with paths, what is below them, and
// what they name itself.
func TestTrapStringParameters(t *testing.T) {
	w := newAccount(t, 10, nil, inuse.Parameters())
	w.parameter("/ci/runner/ami", w.ids[0], ssmtypes.ParameterTypeString)
	w.parameter("plain-name", "eu-west-1:"+strings.ToUpper(w.ids[1])+".", ssmtypes.ParameterTypeString)
	w.parameter("/list", w.ids[9]+","+w.ids[2], ssmtypes.ParameterTypeStringList)
	w.parameter("/image", w.ids[3])
	w.parameter("/ci/secret", `{"ami":"`+w.ids[4]+`"}`, ssmtypes.ParameterTypeSecureString)
	w.parameter("/cinema", w.ids[5], ssmtypes.ParameterTypeString)
	w.check(0, 1, 2, 3, 5)
	for _, path := range []string{"/ci", "/ci/"} {
		w.sources = []inuse.Source{inuse.Parameters(path)}
		w.check(0, 3)
	}
	w.sources = []inuse.Source{inuse.Parameters("/ci/runner/ami", "plain-name")}
	w.check(0, 1, 3)
	w.sources = []inuse.Source{inuse.Parameters("/")}
	w.check(0, 1, 2, 3, 5)
}

func TestSecureParameters(t *testing.T) {
	w := newAccount(t, 40, nil, inuse.SecureParameters("/ci"))
	var want []int
	for i := range 35 { // on four pages
		w.parameter(fmt.Sprintf("/ci/%02d/secret", i), "image="+w.ids[i], ssmtypes.ParameterTypeSecureString)
		want = append(want, i)
	}
	w.parameter("/elsewhere", w.ids[36], ssmtypes.ParameterTypeSecureString)
	w.check(want...)
	w.sources = []inuse.Source{inuse.SecureParameters("/elsewhere")}
	w.check(36)
	w.sources = []inuse.Source{inuse.SecureParameters()}
	w.check(append(want, 36)...)
}

// User data may start further machines: a CI server, a scaler, a NAT instance.
func TestTrapUserData(t *testing.T) {
	w := newAccount(t, 8, nil, inuse.LaunchTemplates(), inuse.LaunchConfigurations(), inuse.SpotFleets())
	encoded := func(image string) *string {
		return aws.String(base64.StdEncoding.EncodeToString([]byte("#cloud-config\nrunner_ami: " + image + "\n")))
	}
	packed := pack.Gzip(t, fmt.Sprintf("#!/bin/sh\nRUNNER_AMI=%s\n", w.ids[1]))
	last := &w.ids[7]
	w.templateOf("ci", &ec2types.RequestLaunchTemplateData{ImageId: last, UserData: encoded(w.ids[4])}, // not current
		&ec2types.RequestLaunchTemplateData{ImageId: last, UserData: encoded(w.ids[0])})
	w.makeDefault("ci", "2")
	w.templateOf("packed", &ec2types.RequestLaunchTemplateData{ImageId: last, UserData: aws.String(base64.StdEncoding.EncodeToString([]byte(packed)))})
	config, err := w.scaling.CreateLaunchConfiguration(t.Context(), &autoscaling.CreateLaunchConfigurationInput{
		LaunchConfigurationName: aws.String("ci"), ImageId: last, InstanceType: aws.String("t3.micro"), UserData: encoded(w.ids[2]),
	})
	do(w, config, err)
	fleet, err := w.ec2.RequestSpotFleet(t.Context(), &awsec2.RequestSpotFleetInput{SpotFleetRequestConfig: &ec2types.SpotFleetRequestConfigData{
		IamFleetRole: aws.String("arn:aws:iam::123456789012:role/fleet"), TargetCapacity: aws.Int32(1),
		LaunchSpecifications: []ec2types.SpotFleetLaunchSpecification{{ImageId: last, UserData: encoded(w.ids[3])}},
	}})
	do(w, fleet, err)
	refs := w.check(0, 1, 2, 3)
	if got := evidence(refs, w.ids[2]); !cmp.Equal(got, []string{"launch configuration ci in its user data"}) {
		t.Errorf("evidence %q", got)
	}
}
