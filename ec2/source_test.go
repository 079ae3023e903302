package ec2_test

import (
	"context"
	"errors"
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

func TestSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		server.SetParameter(testRegion, "/house/base", "not an id")
		cloud := newCloud(server)

		base, err := bake.Bake(t.Context(), nil, simple(cloud))
		if err != nil {
			t.Fatal(err)
		}
		id := base[0].Artifact.ID()
		tests := map[string]struct {
			source ec2.Source
			want   string // id of the source, or part of its name
			err    string
		}{
			"id":        {source: ec2.ImageID(id), want: id},
			"parameter": {source: ec2.ParameterName("/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"), want: "noble-24.04-amd64"},
			"newest own, by tag": {
				source: ec2.Newest{Owners: []string{ec2.Self}, Name: "simple *", Filters: ec2.Filters{"tag:team": {"web"}}}, want: id,
			},
			"arm64":                {source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "*noble*", Architecture: "arm64"}, want: "arm64"},
			"amazon":               {source: ec2.Newest{Owners: []string{ec2.Amazon}, Name: "al2023-ami-2*-x86_64"}, want: "al2023"},
			"unknown id":           {source: ec2.ImageID("ami-00000000000000000"), err: "no such image: ami-00000000000000000"},
			"no match":             {source: ec2.Newest{Owners: []string{ec2.Self}, Name: "nothing"}, err: `no such image: newest "nothing" of self`},
			"unknown parameter":    {source: ec2.ParameterName("/none"), err: "ParameterNotFound"},
			"parameter without id": {source: ec2.ParameterName("/house/base"), err: `Builder.Source: parameter /house/base: invalid AMI id "not an id"`},
		}
		for name, test := range tests {
			img := &bake.Image{Name: "from source", Builder: ec2.Builder{Cloud: cloud, Source: test.source}}
			results, err := bake.Bake(t.Context(), nil, img)
			if test.err != "" {
				var named *bake.Error
				if err == nil || !strings.Contains(err.Error(), test.err) || !errors.As(err, &named) || named.Step != "find source image" {
					t.Errorf("%s: Bake() error = %v, want %q in step %q", name, err, test.err, "find source image")
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: Bake() error = %v", name, err)
				continue
			}
			got := amiOf(t, results[0]).Source
			if got.ID != test.want && !strings.Contains(got.Name, test.want) {
				t.Errorf("%s: source = %s %q, want %s", name, got.ID, got.Name, test.want)
			}
			destroy(t, results[0].Artifact)
		}
	})
}

func TestNewestIgnoresUnfinishedImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		other := make(chan error, 1)
		img := simple(cloud)
		img.Steps = []bake.Step{{Name: "bake other", At: bake.AfterCapture, Do: func(ctx context.Context) error {
			_, err := bake.Bake(ctx, nil, &bake.Image{Name: "other", Builder: ec2.Builder{
				Cloud: cloud, Source: ec2.Newest{Owners: []string{ec2.Self}, Name: "simple *"},
			}})
			other <- err
			return nil
		}}}
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Fatal(err)
		}
		if err := <-other; !errors.Is(err, ec2.ErrNoSource) {
			t.Errorf("Bake() from an unfinished image: error = %v, want %v", err, ec2.ErrNoSource)
		}
	})
}

func TestSourceInResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		client := cloud.Client("")
		base, err := bake.Bake(t.Context(), nil, simple(cloud))
		if err != nil {
			t.Fatal(err)
		}
		id := base[0].Artifact.ID()
		deprecated := time.Now().Add(time.Hour).Truncate(time.Minute).UTC()
		if _, err := client.EnableImageDeprecation(t.Context(), &awsec2.EnableImageDeprecationInput{
			ImageId: aws.String(id), DeprecateAt: aws.Time(deprecated),
		}); err != nil {
			t.Fatal(err)
		}
		var message string
		results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
			if e.Kind == bake.Message && e.Step == "find source image" {
				message = e.Text
			}
		}}, &bake.Image{Name: "next", Builder: ec2.Builder{Cloud: cloud, Source: ec2.ImageID(id)}})
		if err != nil {
			t.Fatal(err)
		}
		got := amiOf(t, results[0]).Source
		if got.ID != id || got.Owner != mainAccount || !strings.HasPrefix(got.Name, "simple ") || got.Tags["team"] != "web" ||
			got.Architecture != "x86_64" || got.Created.IsZero() || !got.Deprecated.Equal(deprecated) {
			t.Errorf("Source = %+v, want the image %s with its attributes, deprecated from %s", got, id, deprecated)
		}
		for _, want := range []string{id, got.Name, got.Owner, got.Created.Format(time.DateOnly), "deprecated from " + deprecated.Format(time.DateOnly)} {
			if !strings.Contains(message, want) {
				t.Errorf("message %q lacks %q", message, want)
			}
		}
	})
}

func TestDeprecatedSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, &ec2test.Options{Images: []ec2test.Image{{
			Owner: ec2.Canonical, Name: "ubuntu/old", Deprecated: time.Now().Add(-time.Hour),
		}}})
		cloud := newCloud(server)
		images, err := cloud.Client("").DescribeImages(t.Context(), &awsec2.DescribeImagesInput{
			Owners: []string{ec2.Canonical}, IncludeDeprecated: aws.Bool(true),
		})
		if err != nil {
			t.Fatal(err)
		}
		var old string
		for _, i := range images.Images {
			if *i.Name == "ubuntu/old" {
				old = *i.ImageId
			}
		}
		for _, test := range []struct {
			source ec2.Source
			found  bool
		}{
			{ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/old"}, false},
			{ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/old", Deprecated: true}, true},
			{ec2.ImageID(old), true},
		} {
			results, err := bake.Bake(t.Context(), nil, &bake.Image{
				Name: "old", Builder: ec2.Builder{Cloud: cloud, Source: test.source, SSH: ec2.SSH{User: "ubuntu"}},
			})
			if !test.found {
				if !errors.Is(err, ec2.ErrNoSource) {
					t.Errorf("Bake() from %#v: error = %v, want %v", test.source, err, ec2.ErrNoSource)
				}
				continue
			}
			if err != nil {
				t.Errorf("Bake() from %#v: error = %v", test.source, err)
			} else if got := amiOf(t, results[0]).Source; got.ID != old || !got.Deprecated.Before(time.Now()) {
				t.Errorf("Bake() from %#v: source = %+v, want the deprecated %s", test.source, got, old)
			}
		}
	})
}

// TestWindowsSource checks that a Windows AMI is refused before anything is created.
func TestWindowsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, platform := range []string{"Windows", "Windows with SQL Server Standard"} {
			server := newServer(t, &ec2test.Options{Images: []ec2test.Image{{Owner: friend, OwnerAlias: "amazon", Name: "Windows_Server-2025", Platform: platform}}})
			cloud := newCloud(server)
			img := &bake.Image{Name: "win", Builder: ec2.Builder{Cloud: cloud, Source: ec2.Newest{Owners: []string{friend}, Name: "Windows*"}}}
			_, err := bake.Bake(t.Context(), nil, img)
			wantNoLaunch(t, server)
			_, planErr := ec2.Plan(t.Context(), img)
			for _, err := range []error{planErr, err} {
				wantError(t, "Bake", err, "find source image: Builder.Source: ami-", " is a Windows AMI: a Builder needs one with cloud-init and a POSIX shell")
			}
		}
	})
}
