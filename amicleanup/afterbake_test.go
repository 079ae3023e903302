package amicleanup_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

type artifact map[string]string

func (a artifact) String() string               { return "artifact" }
func (a artifact) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }
func (a artifact) ID() string                   { return a["eu-west-1"] }
func (a artifact) IDs() map[string]string       { return a }
func (a artifact) Destroy(context.Context) error {
	return nil
}

func TestAfterBake(t *testing.T) {
	home, far := newFake(), newFake()
	home.series("web", 4)
	home.series("db", 4)
	far.series("web", 4)
	c := cleaner(home, amicleanup.Newest(2))
	c.Targets = append(c.Targets, target("us-east-1", far))
	p := amicleanup.AfterBake(*c)
	// The new image is not the newest by its timestamp.
	if err := p.Publish(t.Context(), artifact{"eu-west-1": "ami-web0"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DeregisterImage ami-web1"}, home.changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if len(far.calls) > 0 {
		t.Errorf("a region without the artifact: %v", far.calls)
	}
	if _, ok := p.(bake.Validator); !ok {
		t.Error("Validate of an invalid cleaner: no error")
	}
}

// Messages of the build name the retired images.
func TestAfterBakeMessages(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	p := amicleanup.AfterBake(*cleaner(f, amicleanup.Newest(3)))
	img := &bake.Image{Name: "web", Builder: baketest.NewBuilder(nil), Publishers: []bake.Publisher{
		bake.PublisherFunc{Do: func(ctx context.Context, _ bake.Artifact) error {
			return p.Publish(ctx, artifact{"eu-west-1": "ami-web3"})
		}},
	}}
	var said []string
	observe := func(e bake.Event) {
		if e.Kind == bake.Message {
			said = append(said, e.Text)
		}
	}
	if _, err := bake.Bake(t.Context(), &bake.Options{Observe: observe}, img); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.HasPrefix(said[0], "eu-west-1  removed  ami-web0  web 1") {
		t.Errorf("messages %q, want the removal of ami-web0", said)
	}
}

func TestAfterBakeImageNotSelected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.series("web", 4)
		p := amicleanup.AfterBake(*cleaner(f, amicleanup.Newest(2)))
		err := p.Publish(t.Context(), artifact{"eu-west-1": "ami-new"})
		if err == nil || !strings.Contains(err.Error(), "ami-new is not selected by the policy") || len(f.changes()) > 0 {
			t.Errorf("error %v, changes %v", err, f.changes())
		}
		if err := p.Publish(t.Context(), artifact{"ap-south-1": "ami-new"}); err == nil {
			t.Error("no error without a target")
		}
	})
}

// EC2 lists the new image late.
func TestAfterBakeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.series("web", 4)
		lists := 0
		f.fail = func(action, _ string) error {
			if lists++; action == "DescribeImages" && lists == 3 {
				f.add("ami-new", "web 1900000000", nil)
			}
			return nil
		}
		p := amicleanup.AfterBake(*cleaner(f, amicleanup.Newest(2)))
		if err := p.Publish(t.Context(), artifact{"eu-west-1": "ami-new"}); err != nil {
			t.Fatal(err)
		}
		if len(f.images) != 2 {
			t.Errorf("left %d images, want 2", len(f.images))
		}
	})
}

// Images of one release with an image of another group stay.
func TestAfterBakeKeepsReleasesTogether(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	f.series("web-arm", 4)
	for _, name := range []string{"web", "web-arm"} {
		for i := range 4 {
			id := fmt.Sprint("ami-", name, i)
			f.set(id, func(img *ec2types.Image) { img.Tags = tags("bakestone:build", fmt.Sprint("b", i)) })
		}
	}
	f.set("ami-web2", func(img *ec2types.Image) {
		img.Tags = nil // built alone
	})
	c := cleaner(f, amicleanup.Newest(1))
	c.Policy.Release = amicleanup.SameBuild()
	if err := amicleanup.AfterBake(*c).Publish(t.Context(), artifact{"eu-west-1": "ami-web3"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DeregisterImage ami-web2"}, f.changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
