package ec2_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// captured returns the simple image with another Capture.
func captured(cloud *ec2.Cloud, c ec2.Capture) *bake.Image {
	img := simple(cloud)
	img.Name = "captured"
	img.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), Capture: c}
	return img
}

// A freezer is a guest's fsfreeze that records its arguments and the number of calls before it.
type freezer struct {
	mu  sync.Mutex
	did []string
	at  []int
	now func() int
}

func (f *freezer) commands() map[string]ec2test.Command {
	return map[string]ec2test.Command{"fsfreeze": func(_ context.Context, p *ec2test.Process) int {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.did = append(f.did, strings.Join(p.Args[1:], " "))
		f.at = append(f.at, f.now())
		return 0
	}}
}

func (f *freezer) list() ([]string, []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.did), slices.Clone(f.at)
}

// freezingServer starts an EC2 whose guests have fsfreeze.
func freezingServer(t *testing.T, o ec2test.Options) (*ec2test.Server, *freezer) {
	t.Helper()
	f := &freezer{now: func() int { return 0 }}
	o.Commands = f.commands()
	server := roleServer(t, &o)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = func() int { return len(server.Calls()) }
	return server, f
}

func TestCaptures(t *testing.T) {
	for name, test := range map[string]struct {
		capture ec2.Capture
		calls   string
	}{
		"stopped":                {calls: "StopInstances CreateImage TerminateInstances"},
		"frozen":                 {capture: ec2.Capture{CrashConsistent: true}, calls: "CreateImage TerminateInstances"},
		"snapshots":              {capture: ec2.Capture{FromSnapshots: true}, calls: "StopInstances CreateSnapshots TerminateInstances RegisterImage"},
		"snapshots while frozen": {capture: ec2.Capture{FromSnapshots: true, CrashConsistent: true}, calls: "CreateSnapshots TerminateInstances RegisterImage"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, freeze := freezingServer(t, ec2test.Options{Latency: ec2test.Latency{Snapshot: 20 * time.Millisecond, Image: 20 * time.Millisecond}})
				cloud := newCloud(server)
				results, err := bake.Bake(t.Context(), nil, captured(cloud, test.capture))
				if err != nil {
					t.Fatal(err)
				}
				ami := amiOf(t, results[0])
				var calls []string
				for _, c := range server.Calls() {
					if strings.Contains("StopInstances CreateImage CreateSnapshots RegisterImage TerminateInstances", c.Action) {
						calls = append(calls, c.Action)
					}
				}
				if got := strings.Join(calls, " "); got != test.calls {
					t.Errorf("calls = %s, want %s", got, test.calls)
				}
				did, at := freeze.list()
				if !test.capture.CrashConsistent {
					if len(did) > 0 {
						t.Errorf("fsfreeze ran with %v, want no run", did)
					}
				} else if want := []string{"-f /", "-u /"}; !slices.Equal(did, want) || at[1] == at[0] {
					t.Errorf("fsfreeze ran with %v after calls %v, want %v and a call between", did, at, want)
				}
				wantFile(t, server, ami.ImageID, "/var/www/index.html", "a page\n")
				image := describe(t, cloud, "", ami.ImageID)
				ebs := image.BlockDeviceMappings[0].Ebs
				if image.ImdsSupport != "v2.0" || !aws.ToBool(image.EnaSupport) || image.BootMode != "uefi-preferred" ||
					aws.ToString(image.RootDeviceName) != "/dev/sda1" || aws.ToInt32(ebs.VolumeSize) != 8 || ebs.VolumeType != "gp3" || !aws.ToBool(ebs.DeleteOnTermination) {
					t.Errorf("AMI = %+v with root %+v, want IMDSv2, ENA, UEFI and a root /dev/sda1 of 8 GiB, gp3", image, ebs)
				}
				destroy(t, ami)
				wantNoLeftovers(t, server)
			})
		})
	}
}

func TestSnapshotsWithEachCallFailing(t *testing.T) {
	plain := map[nthCall]bool{}
	for _, c := range callsOfBake(t, simple) {
		plain[c] = true
	}
	define := func(cloud *ec2.Cloud) *bake.Image { return captured(cloud, ec2.Capture{FromSnapshots: true}) }
	calls := slices.DeleteFunc(callsOfBake(t, define), func(c nthCall) bool { return plain[c] })
	if len(calls) < 3 {
		t.Fatalf("calls that snapshots add = %v, want 3 or more", calls)
	}
	breakCalls(t, calls, 2, define)
}

func TestGuestWithoutFsfreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		img := captured(newCloud(server), ec2.Capture{CrashConsistent: true})
		img.Provisioners = append(img.Provisioners, provision.Shell(`rm "$(command -v fsfreeze)"`).AsRoot())
		_, err := bake.Bake(t.Context(), nil, img)
		wantError(t, "Bake", err, "Capture.CrashConsistent needs fsfreeze in the guest")
		wantNoLeftovers(t, server)
	})
}

func TestFromSnapshotsRejectsBillingCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, &ec2test.Options{Images: []ec2test.Image{{
			Name: "rhel 9", Owner: ec2.Amazon, OwnerAlias: "amazon", Login: "ec2-user", Platform: "Red Hat Enterprise Linux",
		}}})
		img := captured(newCloud(server), ec2.Capture{FromSnapshots: true})
		configure(img, func(b *ec2.Builder) { b.Source = ec2.Newest{Owners: []string{ec2.Amazon}, Name: "rhel*"} })
		_, err := bake.Bake(t.Context(), nil, img)
		wantError(t, "Bake", err, "check source image: Builder.Capture.FromSnapshots: ami-", "is Red Hat Enterprise Linux: its billing codes would be lost")
		wantNoLaunch(t, server)
		configure(img, func(b *ec2.Builder) { b.Capture = ec2.Capture{} })
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Errorf("Bake() with CreateImage: error = %v", err)
		}
	})
}

func TestIMDSv2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, &ec2test.Options{Images: []ec2test.Image{{Name: "old", Owner: ec2.Canonical, IMDSv1: true}}})
		cloud := newCloud(server)
		for want, c := range map[ec2types.ImdsSupportValues][]ec2.Capture{
			"v2.0": {{}, {FromSnapshots: true}},
			"":     {{AllowIMDSv1: true}, {AllowIMDSv1: true, FromSnapshots: true}},
		} {
			for _, c := range c {
				img := captured(cloud, c)
				configure(img, func(b *ec2.Builder) { b.Source = ec2.Newest{Owners: []string{ec2.Canonical}, Name: "old"} })
				results, err := bake.Bake(t.Context(), nil, img)
				if err != nil {
					t.Fatal(err)
				}
				if got := describe(t, cloud, "", results[0].Artifact.ID()).ImdsSupport; got != want {
					t.Errorf("%+v: IMDS support = %q, want %q", c, got, want)
				}
			}
		}
	})
}

func TestBootModes(t *testing.T) {
	for name, test := range map[string]struct {
		capture   ec2.Capture
		mode, tpm string
	}{
		"override":  {capture: ec2.Capture{BootMode: "uefi", ENA: true, SRIOV: true}, mode: "uefi"},
		"snapshots": {capture: ec2.Capture{FromSnapshots: true, BootMode: "uefi", TPM: true, UEFIData: "QU1aTlVFRkk=", ENA: true, SRIOV: true}, mode: "uefi", tpm: "v2.0"},
		"legacy":    {capture: ec2.Capture{FromSnapshots: true, BootMode: "legacy-bios"}, mode: "legacy-bios"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := newCloud(newServer(t, nil))
				results, err := bake.Bake(t.Context(), nil, captured(cloud, test.capture))
				if err != nil {
					t.Fatal(err)
				}
				image := describe(t, cloud, "", results[0].Artifact.ID())
				if string(image.BootMode) != test.mode || string(image.TpmSupport) != test.tpm || !aws.ToBool(image.EnaSupport) ||
					test.capture.SRIOV && aws.ToString(image.SriovNetSupport) != "simple" {
					t.Errorf("boot mode %q, TPM %q, ENA %t, SR-IOV %q, want %q, %q, true and SR-IOV %t", image.BootMode, image.TpmSupport, aws.ToBool(image.EnaSupport), aws.ToString(image.SriovNetSupport), test.mode, test.tpm, test.capture.SRIOV)
				}
			})
		})
	}
}

func TestValidateCapture(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	for want, c := range map[string]ec2.Capture{
		`Builder.Capture.BootMode: unknown value "bios"`:                             {BootMode: "bios"},
		"Builder.Capture.BootMode: legacy-bios needs FromSnapshots":                  {BootMode: "legacy-bios"},
		`Builder.Capture.TPM: needs the BootMode "uefi"`:                             {TPM: true, FromSnapshots: true},
		"Builder.Capture.TPM: needs FromSnapshots":                                   {TPM: true, BootMode: "uefi"},
		"Builder.Capture.UEFIData: is not base64":                                    {UEFIData: "*", FromSnapshots: true},
		"Builder.Capture.UEFIData: needs FromSnapshots":                              {UEFIData: "QQ=="},
		"Builder.Capture.ENA: ENA and SRIOV need FromSnapshots with CrashConsistent": {ENA: true, CrashConsistent: true},
	} {
		err := bake.Validate(nil, captured(cloud, c))
		wantError(t, "Validate", err, want)
	}
}
