package ec2test_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Each operation makes the nine calls of an image's lifecycle. With
// -benchtime=500x it measures 500 concurrent bakes.
func BenchmarkImageLifecycle(b *testing.B) {
	srv := ec2test.New(&ec2test.Options{Machines: newFakeMachines()})
	defer srv.Close()
	c := client(srv.Config(region))
	source := ""
	out, err := c.DescribeImages(b.Context(), &awsec2.DescribeImagesInput{Owners: []string{ec2test.Canonical}})
	if err != nil {
		b.Fatal(err)
	}
	for _, img := range out.Images {
		if img.Architecture == "x86_64" {
			source = *img.ImageId
		}
	}
	b.ResetTimer()
	var running sync.WaitGroup
	for n := range b.N {
		running.Go(func() {
			if err := lifecycle(b, c, source, fmt.Sprint("image ", n)); err != nil {
				b.Error(err)
			}
		})
	}
	running.Wait()
	b.StopTimer()
	b.ReportMetric(float64(len(srv.Calls()))/float64(b.N), "calls/op")
	if left := srv.Leftovers(); len(left) > 0 {
		b.Errorf("Leftovers = %q, want none", left)
	}
}

// lifecycle launches source, creates an image with a name and removes it.
func lifecycle(b *testing.B, c *awsec2.Client, source, name string) error {
	b.Helper()
	ctx := b.Context()
	run, err := c.RunInstances(ctx, &awsec2.RunInstancesInput{
		ImageId: aws.String(source), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	})
	if err != nil {
		return err
	}
	id := *run.Instances[0].InstanceId
	byID := []ec2types.Filter{filter("instance-id", id)}
	for range 2 {
		if _, err := c.DescribeInstances(ctx, &awsec2.DescribeInstancesInput{Filters: byID}); err != nil {
			return err
		}
	}
	if _, err := c.StopInstances(ctx, &awsec2.StopInstancesInput{InstanceIds: []string{id}}); err != nil {
		return err
	}
	made, err := c.CreateImage(ctx, &awsec2.CreateImageInput{InstanceId: aws.String(id), Name: aws.String(name)})
	if err != nil {
		return err
	}
	for range 2 {
		if _, err := c.DescribeImages(ctx, &awsec2.DescribeImagesInput{Filters: []ec2types.Filter{filter("image-id", *made.ImageId)}}); err != nil {
			return err
		}
	}
	if _, err := c.TerminateInstances(ctx, &awsec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
		return err
	}
	_, err = c.DeregisterImage(ctx, &awsec2.DeregisterImageInput{ImageId: made.ImageId, DeleteAssociatedSnapshots: aws.Bool(true)})
	return err
}

// Each operation starts a server, makes one call and stops it.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		srv := ec2test.New(nil)
		if _, err := client(srv.Config(region)).DescribeImages(b.Context(), &awsec2.DescribeImagesInput{Owners: []string{ec2test.Canonical}}); err != nil {
			b.Fatal(err)
		}
		srv.Close()
	}
}

// Each operation runs 1,000 instances in sandboxes, which are on at the same time.
func BenchmarkThousandInstances(b *testing.B) {
	for b.Loop() {
		srv := ec2test.New(nil)
		c := client(srv.Config(region))
		images, err := c.DescribeImages(b.Context(), &awsec2.DescribeImagesInput{Owners: []string{ec2test.Canonical}, Filters: []ec2types.Filter{filter("architecture", "x86_64")}})
		if err != nil {
			b.Fatal(err)
		}
		before := memory()
		if _, err := c.RunInstances(b.Context(), &awsec2.RunInstancesInput{
			ImageId: images.Images[0].ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1000), MaxCount: aws.Int32(1000),
		}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(memory()-before)/(1<<20), "MiB")
		srv.Close()
	}
}

// memory returns the bytes of heap and stacks in use.
func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
