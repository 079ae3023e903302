package ec2_test

import (
	"maps"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/provision"
)

// TestRunTags looks for a tag of the bake on the machine and on the AMI.
func TestRunTags(t *testing.T) {
	for name, capture := range map[string]ec2.Capture{"image": {}, "snapshots": {FromSnapshots: true}} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, nil)
			cloud := newCloud(server)
			img := captured(cloud, capture)
			b, _ := img.Builder.(ec2.Builder)
			b.Tags = map[string]string{"team": "not this one", "cost": "42"}
			b.RunTags = map[string]string{"purpose": "baking", "team": "nor this one"}
			img.Builder = b
			var machine ec2types.Instance
			img.Steps = []bake.Step{lookAtInstance(cloud, &machine)}
			results, err := bake.Bake(t.Context(), nil, img)
			if err != nil {
				t.Fatal(err)
			}
			ami := describe(t, cloud, "", results[0].Artifact.ID())
			for where, tags := range map[string]map[string]string{"instance": tagsOf(machine.Tags), "AMI": tagsOf(ami.Tags)} {
				want := map[string]string{"team": "web", "cost": "42", "purpose": "baking"}
				if where == "AMI" {
					delete(want, "purpose")
				}
				maps.DeleteFunc(tags, func(key, _ string) bool { return key != "team" && key != "cost" && key != "purpose" })
				if !maps.Equal(tags, want) {
					t.Errorf("%s has %v, want %v", where, tags, want)
				}
			}
		})
	}
}

func tagsOf(list []ec2types.Tag) map[string]string {
	tags := map[string]string{}
	for _, tag := range list {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return tags
}

// TestSecretOfAService reads a secret with the SDK's client of another service,
// made of the Cloud, and gives it to a command.
func TestSecretOfAService(t *testing.T) {
	server := newServer(t, nil)
	cloud := newCloud(server)
	parameters := ssm.NewFromConfig(cloud.Config(""))
	name := aws.String("/web/token")
	if _, err := parameters.PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: name, Value: aws.String("open sesame"), Type: ssmtypes.ParameterTypeSecureString,
	}); err != nil {
		t.Fatal(err)
	}
	out, err := parameters.GetParameter(t.Context(), &ssm.GetParameterInput{Name: name, WithDecryption: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	img := simple(cloud)
	img.Provisioners = []bake.Provisioner{provision.Script{
		Content: `echo "$TOKEN" >/etc/token; echo "it is $TOKEN"`, Sudo: true,
		Secrets: map[string]bake.Secret{"TOKEN": bake.NewSecret(aws.ToString(out.Parameter.Value))},
	}}
	var said []string
	results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.OutputLine {
			said = append(said, e.Text)
		}
	}}, img)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := server.ReadFile(results[0].Artifact.ID(), "/etc/token"); err != nil || string(content) != "open sesame\n" {
		t.Errorf("the guest has %q, %v", content, err)
	}
	if len(said) != 1 || said[0] != "it is [redacted]" {
		t.Errorf("output %q", said)
	}
}
