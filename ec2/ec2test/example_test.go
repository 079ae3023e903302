package ec2test_test

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Create an image of an unchanged instance and list the remaining resources.
func Example() {
	ctx := context.Background()
	server := ec2test.New(nil)
	defer server.Close()
	client := awsec2.NewFromConfig(server.Config("eu-west-1"))

	images, err := client.DescribeImages(ctx, &awsec2.DescribeImagesInput{Owners: []string{ec2test.Debian}})
	if err != nil {
		log.Fatal(err)
	}
	run, err := client.RunInstances(ctx, &awsec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	})
	if err != nil {
		log.Fatal(err)
	}
	id := run.Instances[0].InstanceId
	if _, err := client.CreateImage(ctx, &awsec2.CreateImageInput{InstanceId: id, Name: aws.String("my debian")}); err != nil {
		log.Fatal(err)
	}
	if _, err := client.TerminateInstances(ctx, &awsec2.TerminateInstancesInput{InstanceIds: []string{*id}}); err != nil {
		log.Fatal(err)
	}
	for _, r := range server.Resources(nil) {
		fmt.Println(r.Type, r.Name, r.State)
	}
	fmt.Println(server.CallCount(""), "calls")
	// Output:
	// image my debian available
	// snapshot  completed
	// 4 calls
}

// The launch takes effect but its response is lost. The SDK retries with the
// same client token and gets the same instance.
func ExampleServer_Fail() {
	ctx := context.Background()
	server := ec2test.New(nil)
	defer server.Close()
	client := awsec2.NewFromConfig(server.Config("eu-west-1"))
	server.Fail(ec2test.Fault{Action: "RunInstances", When: ec2test.After})

	images, err := client.DescribeImages(ctx, &awsec2.DescribeImagesInput{Owners: []string{ec2test.Debian}})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.RunInstances(ctx, &awsec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	}); err != nil {
		log.Fatal(err)
	}
	running := server.Resources(func(r ec2test.Resource) bool { return r.Type == "instance" })
	fmt.Println(len(running), "instance after", server.CallCount("RunInstances"), "calls")
	// Output:
	// 1 instance after 2 calls
}
