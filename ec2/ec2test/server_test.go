package ec2test_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const (
	region       = "us-east-1"
	account      = "123456789012"
	otherAccount = "210987654321"
)

// start returns a server that is closed when the test ends, and a client for it
// that never retries.
func start(t *testing.T, opts *ec2test.Options) (*ec2test.Server, *awsec2.Client) {
	t.Helper()
	srv := ec2test.New(opts)
	t.Cleanup(srv.Close)
	return srv, client(srv.Config(region))
}

func client(cfg aws.Config) *awsec2.Client {
	return awsec2.NewFromConfig(cfg, func(o *awsec2.Options) { o.Retryer = aws.NopRetryer{} })
}

// code returns the API error code of err, or else its text.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// must returns a func that returns out or, if err is not nil, fails the test.
func must[T any](out T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// ubuntu returns the newest Ubuntu 24.04 image for x86_64.
func ubuntu(t *testing.T, c *awsec2.Client) ec2types.Image {
	t.Helper()
	out := must(c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{
		Owners: []string{ec2test.Canonical},
		Filters: []ec2types.Filter{
			{Name: aws.String("name"), Values: []string{"ubuntu/images/*/ubuntu-noble-24.04-amd64-server-*"}},
			{Name: aws.String("state"), Values: []string{"available"}},
		},
	}))(t)
	var newest ec2types.Image
	for _, img := range out.Images {
		if aws.ToString(img.CreationDate) > aws.ToString(newest.CreationDate) {
			newest = img
		}
	}
	if newest.ImageId == nil {
		t.Fatal("DescribeImages found no Ubuntu image")
	}
	return newest
}

// run launches a t3.micro from an image. If with is not nil, it can change the
// input.
func run(t *testing.T, c *awsec2.Client, image string, with func(*awsec2.RunInstancesInput)) ec2types.Instance {
	t.Helper()
	in := &awsec2.RunInstancesInput{
		ImageId: aws.String(image), InstanceType: ec2types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	}
	if with != nil {
		with(in)
	}
	return must(c.RunInstances(t.Context(), in))(t).Instances[0]
}

// describe returns the current description of an instance.
func describe(t *testing.T, c *awsec2.Client, id string) ec2types.Instance {
	t.Helper()
	out := must(c.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{InstanceIds: []string{id}}))(t)
	return out.Reservations[0].Instances[0]
}

func TestImageLifecycle(t *testing.T) {
	srv, c := start(t, nil)
	source := ubuntu(t, c)
	inst := run(t, c, *source.ImageId, nil)
	if got := describe(t, c, *inst.InstanceId); got.State.Name != "running" || got.PublicIpAddress == nil {
		t.Errorf("instance is %s with address %v, want running with a public address", got.State.Name, got.PublicIpAddress)
	}
	stop := must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{*inst.InstanceId}}))(t)
	if got := stop.StoppingInstances[0].PreviousState.Name; got != "running" {
		t.Errorf("previous state of StopInstances = %s, want running", got)
	}
	made := must(c.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: inst.InstanceId, Name: aws.String("web 1")}))(t)
	must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{*inst.InstanceId}}))(t)
	if got := srv.Leftovers(); len(got) != 2 {
		t.Errorf("Leftovers = %q, want an image and its snapshot", got)
	}
	gone := must(c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{
		ImageId: made.ImageId, DeleteAssociatedSnapshots: aws.Bool(true),
	}))(t)
	if len(gone.DeleteSnapshotResults) != 1 || gone.DeleteSnapshotResults[0].ReturnCode != "success" {
		t.Errorf("DeregisterImage: snapshot results = %+v, want success", gone.DeleteSnapshotResults)
	}
	if got := srv.Leftovers(); len(got) != 0 {
		t.Errorf("Leftovers = %q, want none", got)
	}
}
