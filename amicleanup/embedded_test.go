package amicleanup_test

import (
	"testing"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func TestOnEmbeddedEC2(t *testing.T) {
	server := ec2test.New(nil)
	t.Cleanup(server.Close)
	client := awsec2.NewFromConfig(server.Config("eu-west-1"))
	onServer(t, client, amicleanup.InUse(inuse.Instances(), inuse.LaunchTemplates()))

	if calls := server.CallCount("DeleteSnapshot"); calls > 3 {
		t.Errorf("%d calls of DeleteSnapshot: the snapshots are not removed along with their images", calls)
	}
}
