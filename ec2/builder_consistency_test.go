package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// laggingShop returns the definition of TestRealisticDefinition, without its
// protection, and an EC2 with AWS's latencies that shows changes after lag.
func laggingShop(t *testing.T, lag time.Duration, seed uint64) (*ec2test.Server, *bake.Image) {
	t.Helper()
	server, cloud := realistic(ec2test.Options{Consistency: lag, ConsistencySeed: seed})
	addProd(server, ec2test.Role{ARN: prodRole})
	if err := server.ShareKey(server.AddKey(testRegion, "alias/images"), prodAccount); err != nil {
		t.Fatal(err)
	}
	newTemplates(t, server, shopPlaces()...)
	time.Sleep(lag)
	img := shop(cloud, cloud.Assume(ec2.Role{ARN: prodRole}), filepath.Join(t.TempDir(), "manifest.json"))
	return server, setDistribution(img, func(d *ec2.Distribution) { d.Protection = ec2.Unprotected })
}

// shopPlaces returns the places that a bake of shop ends in, sorted.
func shopPlaces() []string { return []string{prodAccount + "/" + testRegion, testRegion, "us-west-2"} }

// wantOnlyTemplates checks that only launch templates are left.
func wantOnlyTemplates(t *testing.T, server *ec2test.Server) {
	t.Helper()
	for _, r := range server.Resources(func(r ec2test.Resource) bool { return r.Type != "launch-template" }) {
		t.Errorf("resource %s is left, want only launch templates", r)
	}
}

// TestEventualConsistencyRealistic bakes, replaces, fails and destroys the
// realistic definition with several lags, even ones of several lengths in the long form.
func TestEventualConsistencyRealistic(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lag  time.Duration
		seed uint64
	}{
		{300 * time.Millisecond, 0}, {2 * time.Second, 0}, {4500 * time.Millisecond, 0}, {9 * time.Second, 0},
		{2 * time.Second, 1}, {4 * time.Second, 2}, {9 * time.Second, 3}, {9 * time.Second, 4},
	} {
		lag := test.lag
		if test.seed == 0 && lag != 2*time.Second && !long() {
			continue
		}
		t.Run(fmt.Sprint(lag, " seed ", test.seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, img := laggingShop(t, lag, test.seed)
				defer server.Close()
				var ami *ec2.AMI
				for range 2 {
					results, err := bake.Bake(t.Context(), nil, img)
					if err != nil {
						t.Fatal(err)
					}
					ami = amiOf(t, results[0])
				}
				if got := placesOf(ami); !slices.Equal(got, shopPlaces()) {
					t.Errorf("places of the AMI = %v, want %v", got, shopPlaces())
				}
				time.Sleep(lag)
				for place, id := range ami.IDs() {
					cfg := owner(server, place)
					out, err := ssm.NewFromConfig(cfg).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/images/shop")})
					if err != nil || *out.Parameter.Value != id {
						t.Errorf("%s: GetParameter() = %+v, %v, want %s", place, out, err, id)
					}
					if newest := versions(t, awsec2.NewFromConfig(cfg))[0]; *newest.LaunchTemplateData.ImageId != id {
						t.Errorf("%s: newest launch template version = %+v, want it to launch %s", place, newest, id)
					}
				}
				if images := resourcesOf(server, "image"); len(images) != len(shopPlaces()) {
					t.Errorf("images %v, want one in each place", images)
				}
				planted := errors.New("planted")
				bad := *img
				bad.Publishers = []bake.Publisher{bake.PublisherFunc{Do: func(ctx context.Context, a bake.Artifact) error {
					return errors.Join(planted, a.Destroy(ctx))
				}}}
				if _, err := bake.Bake(t.Context(), nil, &bad); !errors.Is(err, planted) {
					t.Errorf("Bake() with a failing publisher: error = %v, want %v", err, planted)
				}
				bad.Publishers = nil
				bad.Checks = []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error { return planted }}}
				if _, err := bake.Bake(t.Context(), nil, &bad); !errors.Is(err, planted) {
					t.Errorf("Bake() with a failing check: error = %v, want %v", err, planted)
				}
				destroy(t, ami)
				wantOnlyTemplates(t, server)
			})
		})
	}
}

// TestEventualConsistencyLostResponse bakes the realistic definition once for
// each call that changes something, and loses its response in all attempts, or, in the
// long form, once.
func TestEventualConsistencyLostResponse(t *testing.T) {
	t.Parallel()
	const lag = 3 * time.Second
	var actions []string
	synctest.Test(t, func(t *testing.T) {
		server, img := laggingShop(t, lag, 7)
		defer server.Close()
		before := len(server.Calls())
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Fatal(err)
		}
		for _, c := range server.Calls()[before:] {
			if !reads(c) && !slices.Contains(actions, c.Action) {
				actions = append(actions, c.Action)
			}
		}
	})
	const fewest = 12
	if len(actions) < fewest {
		t.Errorf("actions that change something = %v, want %d or more", actions, fewest)
	}
	for _, action := range actions {
		for _, times := range []int{1, 3 * attempts} {
			if times == 1 && !long() { // TestRetryAfterLostResponse does so without a lag
				continue
			}
			t.Run(fmt.Sprint(action, " ", times), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server, img := laggingShop(t, lag, 7)
					defer server.Close()
					server.Fail(ec2test.Fault{Action: action, When: ec2test.After, Code: "InternalError", Times: times})
					results, err := bake.Bake(t.Context(), nil, img)
					if err != nil && times == 1 {
						t.Errorf("Bake() after one lost response: error = %v", err)
					}
					server.Mend()
					destroy(t, results[0].Artifact)
					wantOnlyTemplates(t, server)
				})
			})
		}
	}
}

// TestEventualConsistency bakes on an EC2 that shows changes after three seconds.
func TestEventualConsistency(t *testing.T) {
	for _, action := range []string{"", "CreateSecurityGroup", "RunInstances", "CreateImage"} {
		t.Run("lost "+action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, cloud := realistic(ec2test.Options{Consistency: 3 * time.Second})
				defer server.Close()
				if action != "" {
					server.Fail(ec2test.Fault{Action: action, When: ec2test.After, Code: "InternalError", Times: attempts})
				}
				results, err := bake.Bake(t.Context(), nil, simple(cloud))
				if (err == nil) != (action == "") {
					t.Errorf("Bake() with lost responses of %q: error = %v", action, err)
				}
				destroy(t, results[0].Artifact)
				server.Mend()
				wantNoLeftovers(t, server)
			})
		})
	}
}

// lateServer starts an EC2 with AWS's latencies that shows changes after five
// seconds, for use in a synctest bubble.
func lateServer(t *testing.T) (*ec2test.Server, *ec2.Cloud) {
	t.Helper()
	server := roleServer(t, &ec2test.Options{Consistency: 5 * time.Second, Latency: ec2test.Realistic()})
	return server, newCloud(server)
}

// TestEventualConsistencyReplaceAMI replaces an AMI, and undoes a replacement.
func TestEventualConsistencyReplaceAMI(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, cloud := lateServer(t)
		for _, version := range []string{"v1", "v2"} {
			if _, err := bake.Bake(t.Context(), nil, fixedName(cloud, version)); err != nil {
				t.Fatal(err)
			}
			wantWebImages(t, server, version)
		}
		late := fixedName(cloud, "v3")
		late.Steps = []bake.Step{{Name: "late", At: bake.AfterPromote, Do: func(context.Context) error { return errors.New("too late") }}}
		_, err := bake.Bake(t.Context(), nil, late)
		wantError(t, "Bake", err, "too late")
		wantWebImages(t, server, "v2")
	})
}

// TestEventualConsistencyCancel cancels a bake when a step creates a resource or
// ends.
func TestEventualConsistencyCancel(t *testing.T) {
	for _, step := range []string{"launch instance", "create image", "wait for image", "promote image"} {
		for _, when := range []bake.EventKind{bake.ResourceCreated, bake.StepFinished} {
			t.Run(step+" "+string(when), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server, cloud := lateServer(t)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					options := &bake.Options{Observe: func(e bake.Event) {
						if e.Step == step && e.Kind == when {
							cancel()
						}
					}}
					img := setDistribution(multiRegion(cloud), func(d *ec2.Distribution) { d.Protection = ec2.Protected })
					results, err := bake.Bake(ctx, options, img)
					if results[0].Artifact != nil {
						destroy(t, results[0].Artifact)
					} else if !errors.Is(err, context.Canceled) {
						t.Errorf("Bake() error = %v, want %v", err, context.Canceled)
					}
					wantNoLeftovers(t, server)
				})
			})
		}
	}
}
