package ec2_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestNoSourceExplained looks for the newest AMI where none matches, and checks that the
// error says why and what to set.
func TestNoSourceExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := time.Now().Add(-48 * time.Hour)
		server := newServer(t, &ec2test.Options{Images: []ec2test.Image{
			{Owner: friend, Name: "old 1", Deprecated: past}, {Owner: friend, Name: "old 2", Deprecated: past.Add(time.Hour), Architecture: "arm64"},
			{Owner: friend, Name: "arm only", Architecture: "arm64"},
			{Owner: friend, Name: "plain"},
		}})
		cloud := newCloud(server)
		client := cloud.Client("")
		own := func(name string) *string {
			t.Helper()
			vendors, err := client.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{ec2.Canonical}})
			if err != nil {
				t.Fatal(err)
			}
			out, err := client.CopyImage(t.Context(), &awsec2.CopyImageInput{Name: aws.String(name), SourceImageId: vendors.Images[0].ImageId, SourceRegion: aws.String(testRegion)})
			if err != nil {
				t.Fatal(err)
			}
			return out.ImageId
		}
		disabled := own("disabled")
		if _, err := client.DisableImage(t.Context(), &awsec2.DisableImageInput{ImageId: disabled}); err != nil {
			t.Fatal(err)
		}
		since := "is deprecated since " + past.Format(time.DateOnly) + ", set Newest.Deprecated to include it"
		for name, test := range map[string]struct {
			source ec2.Newest
			want   []string
		}{
			"deprecated":         {ec2.Newest{Owners: []string{friend}, Name: "old *", Architecture: "x86_64"}, []string{`"old 1" ` + since}},
			"architecture":       {ec2.Newest{Owners: []string{friend}, Name: "arm *", Architecture: "x86_64"}, []string{`"arm only" is for arm64, not x86_64, see Newest.Architecture`}},
			"two obstacles":      {ec2.Newest{Owners: []string{friend}, Name: "old 2", Architecture: "x86_64"}, []string{`"old 2" is deprecated since `, ", and is for arm64, not x86_64"}},
			"disabled":           {ec2.Newest{Owners: []string{ec2.Self}, Name: "disabled"}, []string{*disabled + ` "disabled" is disabled, EnableImage makes it usable`}},
			"other owner":        {ec2.Newest{Owners: []string{ec2.Self}, Name: "plain"}, []string{" of " + friend + " has such a name: check Newest.Owners, but anyone can publish"}},
			"filters":            {ec2.Newest{Owners: []string{friend}, Name: "plain", Filters: ec2.Filters{"tag:team": {"web"}}}, []string{`"plain" does not pass Newest.Filters`}},
			"nothing":            {ec2.Newest{Owners: []string{ec2.Self}, Name: "nothing"}, []string{`no such image: newest "nothing" of self in eu-west-1`}},
			"nothing by pattern": {ec2.Newest{Owners: []string{"111111111111"}, Name: "*"}, []string{`no such image: newest "*" of 111111111111 in eu-west-1`}},
		} {
			img := &bake.Image{Name: "next", Builder: ec2.Builder{Cloud: cloud, Source: test.source, SSH: ec2.SSH{User: "ubuntu"}}}
			_, planErr := ec2.Plan(t.Context(), img)
			_, err := bake.Bake(t.Context(), nil, img)
			for _, err := range []error{planErr, err} {
				wantError(t, name+": Bake", err, append(test.want, "find source image: Builder.Source: no such image: ")...)
				if !errors.Is(err, ec2.ErrNoSource) {
					t.Errorf("%s: error = %v, want %v", name, err, ec2.ErrNoSource)
				}
			}
		}
		server = ec2test.New(&ec2test.Options{Latency: ec2test.Realistic()})
		defer server.Close()
		cloud, client = newCloud(server), newCloud(server).Client("")
		pending := own("pending")
		_, err := ec2.Plan(t.Context(), &bake.Image{Name: "next", Builder: ec2.Builder{Cloud: cloud, Source: ec2.Newest{Owners: []string{ec2.Self}, Name: "pend*"}}})
		wantError(t, "Plan", err, *pending+` "pending" is in state pending, want available`)
	})
}

// TestNoDefaultNetwork bakes in the default VPC where there is none, and in a zone
// without a default subnet.
func TestNoDefaultNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, &ec2test.Options{NoDefaultVPC: true})
		_, err := bake.Bake(t.Context(), nil, simple(newCloud(server)))
		wantError(t, "Bake", err, "choose network: Builder.Network: eu-west-1 has no default VPC: set VPC or Subnet")
		server.Fail(ec2test.Fault{Action: "DescribeVpcs", Code: "UnauthorizedOperation", Times: -1})
		_, err = bake.Bake(t.Context(), nil, simple(newCloud(server)))
		wantError(t, "Bake", err, "choose network: Builder.Network: no default subnet found in eu-west-1, perhaps for lack of a default VPC: set VPC or Subnet")
		server = newServer(t, nil)
		_, err = bake.Bake(t.Context(), nil, configure(simple(newCloud(server)), func(b *ec2.Builder) { b.Network.AvailabilityZone = "eu-west-1z" }))
		wantError(t, "Bake", err, "Builder.Network.AvailabilityZone: the default VPC of eu-west-1 has no default subnet in eu-west-1z: choose another zone, or set VPC or Subnet")
		wantNoLaunch(t, server)
	})
}

// failingHTTP fails all requests, as an SDK's HTTP client.
type failingHTTP struct{ err error }

func (f failingHTTP) Do(*http.Request) (*http.Response, error) { return nil, f.err }

// TestAccessExplained bakes with a wrong region, owner, parameter and credentials, and
// checks that the error names the field and the remedy.
func TestAccessExplained(t *testing.T) {
	for name, test := range map[string]struct {
		fault  ec2test.Fault
		change func(*aws.Config, *ec2.Builder)
		want   []string
	}{
		"no such region": {
			change: func(cfg *aws.Config, b *ec2.Builder) {
				b.Region = "eu-wst-1"
				cfg.HTTPClient = failingHTTP{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "ec2.eu-wst-1.amazonaws.com", IsNotFound: true}}}
			},
			want: []string{`Builder.Region: AWS has no endpoint for "eu-wst-1": check the region's name`},
		},
		"region not enabled": {
			change: func(_ *aws.Config, b *ec2.Builder) { b.Region = "mars-north-1" },
			want:   []string{"Builder.Region: the account has not enabled mars-north-1: check the region's name, or enable it: "},
		},
		"zone as region": {
			change: func(_ *aws.Config, b *ec2.Builder) { b.Region = "eu-west-1a" },
			want:   []string{"Builder.Region: eu-west-1a is an Availability Zone: its region is eu-west-1, and Network.AvailabilityZone selects the zone"},
		},
		"zone as copy's region": {
			change: func(_ *aws.Config, b *ec2.Builder) { b.Distribute.Copies = ec2.CopyTo("us-gov-west-1b") },
			want:   []string{"Builder.Distribute.Copies[0].Region: us-gov-west-1b is an Availability Zone, want a region"},
		},
		"no credentials": {
			change: func(cfg *aws.Config, _ *ec2.Builder) {
				cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{}, errors.New("no EC2 IMDS role found")
				})
			},
			want: []string{"Builder.Cloud: no usable credentials: set them in the aws.Config", "no EC2 IMDS role found"},
		},
		"refused credentials": {fault: ec2test.Fault{Code: "AuthFailure"}, want: []string{"Builder.Cloud: AWS refused the credentials in eu-west-1: check the aws.Config's"}},
		"unknown key id":      {fault: ec2test.Fault{Code: "InvalidClientTokenId"}, want: []string{"Builder.Cloud: AWS refused the credentials in eu-west-1"}},
		"expired credentials": {fault: ec2test.Fault{Code: "ExpiredToken"}, want: []string{"Builder.Cloud: the credentials have expired: renew those of the aws.Config"}},
		"role": {
			change: func(_ *aws.Config, b *ec2.Builder) {
				b.Cloud = b.Cloud.Assume(ec2.Role{ARN: "arn:aws:iam::210987654321:role/none"})
			},
			want: []string{"Builder.Cloud: the role cannot be assumed: check its name, its trust policy"},
		},
		"owner": {
			change: func(_ *aws.Config, b *ec2.Builder) {
				b.Source = ec2.Newest{Owners: []string{"canonical"}, Name: "ubuntu*"}
			},
			want: []string{`Builder.Source: invalid Newest.Owners "canonical": want an account id of twelve digits (ec2.Canonical or ec2.Debian, for two vendors), "self", "amazon" or "aws-marketplace"`},
		},
		"parameter": {
			change: func(_ *aws.Config, b *ec2.Builder) { b.Source = ec2.ParameterName("/none") },
			want:   []string{"Builder.Source: parameter /none not found in eu-west-1: check its name and the region"},
		},
		"id": {
			change: func(_ *aws.Config, b *ec2.Builder) { b.Source = ec2.ImageID("ami-00000000000000000") },
			want:   []string{"Builder.Source: no such image: ami-00000000000000000 in eu-west-1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				if test.fault.Code != "" {
					test.fault.Times = -1
					server.Fail(test.fault)
				}
				cfg := server.Config(testRegion)
				b := ec2.Builder{Source: ubuntu()}
				if test.change != nil {
					b.Cloud = newCloud(server)
					test.change(&cfg, &b)
				}
				if b.Cloud == nil || !strings.Contains(name, "role") {
					b.Cloud = ec2.NewCloud(cfg, cloudOptions(server))
				}
				img := &bake.Image{Name: "next", Builder: b}
				_, planErr := ec2.Plan(t.Context(), img)
				_, err := bake.Bake(t.Context(), nil, img)
				wantError(t, "Bake", err, test.want...)
				wantError(t, "Plan", planErr, test.want...)
				wantNoLaunch(t, server)
			})
		})
	}
}
