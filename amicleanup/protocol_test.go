package amicleanup_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/bake/nodes"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

func TestOnMoto(t *testing.T) {
	endpoint := testenv.Moto(t)
	client := awsec2.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	onServer(t, client, amicleanup.InUse(inuse.Instances()))
}

// onServer retires images of an EC2 that is reached through the real client.
func onServer(t *testing.T, client *awsec2.Client, inUse amicleanup.Rule) {
	t.Helper()
	ctx := t.Context()
	vendor, err := client.DescribeImages(ctx, &awsec2.DescribeImagesInput{Owners: []string{"amazon"}})
	if err != nil || len(vendor.Images) == 0 {
		t.Fatalf("no image to start from: %v", err)
	}
	builder := launch(t, client, *vendor.Images[0].ImageId)
	made := map[string]string{} // id by name
	for i := range 4 {
		for _, node := range []string{"web", "db"} {
			name := nodes.TimestampedName(node, after(i))
			made[name] = createImage(t, client, builder, name)
		}
	}
	made["by hand"] = createImage(t, client, builder, "by hand")
	launch(t, client, made["web 1700000000"])

	c := &amicleanup.Cleaner{
		SettleTime: atOnce,
		Targets:    []amicleanup.Target{target("eu-west-1", client)},
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Name: "{group} {unix}"},
			Keep:   []amicleanup.Rule{amicleanup.Newest(2), inUse},
		},
	}
	plan := mustPlan(t, c)
	result, err := c.Apply(ctx, plan)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"by hand", "db 1700007200", "db 1700010800", "web 1700000000", "web 1700007200", "web 1700010800"}
	names, snapshots := ownImages(t, client)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("images left (-want +got):\n%s", diff)
	}
	for _, img := range result.Images {
		for _, s := range img.Snapshots {
			if s.Outcome != amicleanup.Removed || slices.Contains(snapshots, s.ID) {
				t.Errorf("snapshot %s of %s is %s: %s", s.ID, img.Name, s.Outcome, s.Detail)
			}
		}
		if len(img.Snapshots) == 0 {
			t.Errorf("%s had no snapshot", img.Name)
		}
	}
	again, err := c.Apply(ctx, plan)
	if err != nil || again.Count(amicleanup.Gone) != 3 {
		t.Errorf("second Apply: %v, %v", outcomes(again), err)
	}
	if n := mustPlan(t, c).Removals(); n != 0 {
		t.Errorf("%d more to remove", n)
	}
}

func launch(t *testing.T, client *awsec2.Client, image string) string {
	t.Helper()
	out, err := client.RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: aws.String(image), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: ec2types.InstanceTypeT3Small,
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Instances[0].InstanceId
}

func createImage(t *testing.T, client *awsec2.Client, instance, name string) string {
	t.Helper()
	out, err := client.CreateImage(t.Context(), &awsec2.CreateImageInput{
		InstanceId: aws.String(instance), Name: aws.String(name), NoReboot: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.ImageId
}

// ownImages returns the sorted names of the account's images, and all snapshots.
func ownImages(t *testing.T, client *awsec2.Client) (names, snapshots []string) {
	t.Helper()
	images, err := client.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images.Images {
		names = append(names, *img.Name)
	}
	all, err := client.DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all.Snapshots {
		snapshots = append(snapshots, *s.SnapshotId)
	}
	slices.Sort(names)
	return names, snapshots
}
