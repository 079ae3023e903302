package ec2test_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TestTagKeysOfMetadata checks the keys of tags that are set with and after the launch
// of an instance whose metadata service shows tags.
func TestTagKeysOfMetadata(t *testing.T) {
	_, c := start(t, nil)
	image := *ubuntu(t, c).ImageId
	launch := func(key string, shown ec2types.InstanceMetadataTagsState) (string, error) {
		out, err := c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
			ImageId: aws.String(image), InstanceType: "t3.small", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			MetadataOptions: &ec2types.InstanceMetadataOptionsRequest{InstanceMetadataTags: shown},
			TagSpecifications: []ec2types.TagSpecification{{
				ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{{Key: aws.String(key), Value: aws.String("x")}},
			}},
		})
		if err != nil {
			return "", err
		}
		return *out.Instances[0].InstanceId, nil
	}
	hidden, err := launch("a/b", ec2types.InstanceMetadataTagsStateDisabled)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := launch("aZ09-_+=,.@:", ec2types.InstanceMetadataTagsStateEnabled)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"my key", "a/b", "schlüssel", ".", "..", "_index"} {
		if _, err := launch(key, ec2types.InstanceMetadataTagsStateEnabled); code(err) != "InvalidParameterValue" || !strings.Contains(err.Error(), "'"+key+"' is not a valid tag key") {
			t.Errorf("RunInstances with the tag key %q = %v, want InvalidParameterValue", key, err)
		}
		for id, want := range map[string]string{hidden: "", shown: "InvalidParameterValue"} {
			_, err := c.CreateTags(t.Context(), &awsec2.CreateTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{{Key: aws.String(key), Value: aws.String("x")}}})
			if code(err) != want {
				t.Errorf("CreateTags with the key %q = %v, want %q", key, err, want)
			}
		}
	}
}

// TestTextLimits checks that limits of texts count characters, and that of user data
// counts bytes.
func TestTextLimits(t *testing.T) {
	_, c := start(t, nil)
	image, text := *ubuntu(t, c).ImageId, func(n int) *string { return aws.String(strings.Repeat("ü", n)) }
	own := must(c.CopyImage(t.Context(), &awsec2.CopyImageInput{SourceImageId: aws.String(image), SourceRegion: aws.String(region), Name: aws.String("own")}))(t).ImageId
	launch := func(userData string) error {
		_, err := c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
			ImageId: aws.String(image), InstanceType: "t3.small", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			UserData: aws.String(base64.StdEncoding.EncodeToString([]byte(userData))), DryRun: aws.Bool(true),
		})
		return err
	}
	for _, test := range []struct {
		what string
		call func() error
		want string
	}{
		{"the longest tag", func() error { return setTag(t, c, *own, text(128), text(256)) }, ""},
		{"a long key", func() error { return setTag(t, c, *own, text(129), text(1)) }, "InvalidParameterValue"},
		{"a long value", func() error { return setTag(t, c, *own, text(1), text(257)) }, "InvalidParameterValue"},
		{"the longest description", func() error { return copyImage(t, c, image, "longest", text(255)) }, ""},
		{"a long description", func() error { return copyImage(t, c, image, "long", text(256)) }, "InvalidParameterValue"},
		{"the longest user data", func() error { return launch(*text(8 << 10)) }, "DryRunOperation"},
		{"long user data", func() error { return launch(*text(8 << 10) + "x") }, "InvalidParameterValue"},
		{"a name beyond ASCII", func() error { return copyImage(t, c, image, "bücher", text(1)) }, "InvalidAMIName.Malformed"},
		{"a group name beyond ASCII", func() error {
			_, err := c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: text(3), Description: aws.String("x")})
			return err
		}, "InvalidParameterValue"},
		{"a group description beyond ASCII", func() error {
			_, err := c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("x"), Description: text(3)})
			return err
		}, "InvalidParameterValue"},
	} {
		if err := test.call(); code(err) != test.want {
			t.Errorf("call with %s = %v, want %q", test.what, err, test.want)
		}
	}
}

func setTag(t *testing.T, c *awsec2.Client, id string, key, value *string) error {
	t.Helper()
	_, err := c.CreateTags(t.Context(), &awsec2.CreateTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{{Key: key, Value: value}}})
	return err
}

func copyImage(t *testing.T, c *awsec2.Client, id, name string, description *string) error {
	t.Helper()
	_, err := c.CopyImage(t.Context(), &awsec2.CopyImageInput{
		SourceImageId: aws.String(id), SourceRegion: aws.String(region), Name: aws.String(name), Description: description,
	})
	return err
}
