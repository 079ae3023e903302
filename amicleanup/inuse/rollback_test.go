package inuse_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/internal/templatehistory"
)

// The images that a group can be rolled back to are in use; those of versions whose
// refresh failed are not.
func TestRollBackImages(t *testing.T) {
	w := newAccount(t, 8, nil, inuse.AutoScalingGroups())
	w.template("web", w.ids[0])                                       // version 1
	for n, replaces := range []string{"1", "2", "2", "4", "5", "6"} { // version 3 failed
		out, err := w.ec2.CreateLaunchTemplateVersion(t.Context(), &awsec2.CreateLaunchTemplateVersionInput{
			LaunchTemplateName: aws.String("web"), VersionDescription: aws.String(templatehistory.Describe("web", replaces)),
			LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &w.ids[n+1]},
		})
		do(w, out, err)
	}
	w.makeDefault("web", "7")
	w.group("web", autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named("web", "7")})
	w.check(3, 4, 5, 6)
	w.sources = []inuse.Source{inuse.AutoScalingGroupsWith(9)}
	w.check(0, 1, 3, 4, 5, 6)
	w.sources = []inuse.Source{inuse.AutoScalingGroupsWith(0)}
	w.check(6)
}
