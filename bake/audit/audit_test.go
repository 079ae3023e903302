package audit_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/audit"
	"github.com/bakestone-go/bakestone/internal/testenv/disktest"
)

const mib = 1 << 20

// contents are a disk in memory.
type contents struct{ *bytes.Reader }

func (c contents) NextData(off int64) (start, end int64, err error) { return off, c.Size(), nil }

func disks(disk []byte) bake.SystemDisks {
	return bake.SystemDisks{Disks: []bake.Disk{{DiskContents: contents{bytes.NewReader(disk)}}}}
}

func system(t *testing.T, more map[string]disktest.File) []byte {
	t.Helper()
	root := disktest.Ext4(t, 8*mib, disktest.System(more))
	return disktest.GPT(16*mib, true, disktest.Partition{Type: disktest.BIOS, Content: make([]byte, mib)}, disktest.Partition{Type: disktest.Linux, Content: root})
}

// secret is not in any finding.
const secret = "s3cr3t-t0ken"

func TestReport(t *testing.T) {
	bad := map[string]disktest.File{
		"/home/debian/.ssh/authorized_keys":      {Content: "# mine\nssh-ed25519 AAAA me\n"},
		"/root/.ssh/authorized_keys":             {Content: "# none\n\n"},
		"/etc/ssh/ssh_host_ed25519_key":          {Content: "-----BEGIN OPENSSH PRIVATE KEY-----\n" + secret},
		"/etc/ssh/ssh_host_ed25519_key.pub":      {Content: "ssh-ed25519 AAAA host\n"},
		"/etc/machine-id":                        {Content: "0123456789abcdef0123456789abcdef\n"},
		"/var/lib/cloud/instances/i-1/boot":      {Content: "x"},
		"/root/.bash_history":                    {Content: "mysql -p" + secret + "\nls\n"},
		"/etc/app/tls.key":                       {Content: "-----BEGIN PRIVATE KEY-----\n" + secret},
		"/srv/app/.env":                          {Content: "AWS_ACCESS_KEY_ID=AKIA234567ABCDEFGHIJ\nAWS_SECRET=" + secret + "\n"},
		"/etc/app/db.conf":                       {Content: "url = postgres://app:" + secret + "@db.example.com/app\n"},
		"/usr/bin/open":                          {Content: "x", Mode: 0o777},
		"/etc/shadow":                            {Content: "root:$6$" + secret + ":19000::::::\ndebian:!:19000::::::\nguest::1::::::\n"},
		"/usr/share/doc/tls/examples/server.key": {Content: "-----BEGIN PRIVATE KEY-----\nan example of a package\n"},
		"/tmp/anyone":                            {Content: "x", Mode: 0o666},
	}
	want := []string{
		"authorized keys: /home/debian/.ssh/authorized_keys (1 keys)",
		"cloud-init state: /var/lib/cloud/instances/i-1/boot",
		"credential: /etc/app/db.conf (a password in a URL)",
		"credential: /srv/app/.env (an access key of AWS)",
		"SSH host key: /etc/ssh/ssh_host_ed25519_key",
		"history of commands: /root/.bash_history (2 lines)",
		"machine id: /etc/machine-id",
		`password: /etc/shadow ("guest" has no password, so anyone can log in)`,
		`password: /etc/shadow ("root" has a password)`,
		"private key: /etc/app/tls.key (in PEM)",
		"world-writable file: /usr/bin/open (mode -rwxrwxrwx)",
	}
	for name, disk := range map[string][]byte{"GPT": system(t, bad), "without partitions": disktest.Ext4(t, 8*mib, disktest.System(bad))} {
		found, err := audit.Report(t.Context(), disks(disk), nil)
		if err != nil {
			t.Fatalf("%s: Report: %v", name, err)
		}
		var got []string
		for _, f := range found {
			got = append(got, f.String())
			if strings.Contains(f.String(), secret) {
				t.Errorf("%s: finding %q has the secret", name, f)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: Report =\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	found, err := audit.Report(t.Context(), disks(system(t, bad)), &audit.Options{
		Allow: []audit.Kind{audit.Password, audit.Credential, audit.History}, AllowPaths: []string{"/home/*/.ssh/authorized_keys", "/etc/*/*", "/usr/bin/open"},
	})
	if err != nil || len(found) != 2 {
		t.Errorf("Report with exceptions = %v, %v, want the machine id and cloud-init's state", found, err)
	}
	if found, err := audit.Report(t.Context(), disks(system(t, bad)), &audit.Options{MostFindings: 3}); err != nil || len(found) != 3 {
		t.Errorf("Report of at most three = %d, %v", len(found), err)
	}
}

func TestReportClean(t *testing.T) {
	if found, err := audit.Report(t.Context(), disks(system(t, nil)), nil); err != nil || len(found) > 0 {
		t.Errorf("Report of a clean disk = %v, %v, want nothing", found, err)
	}
}

func TestReportOther(t *testing.T) {
	xfs := make([]byte, mib)
	copy(xfs, "XFSB")
	found, err := audit.Report(t.Context(), disks(disktest.MBR(4*mib, true, xfs)), nil)
	if err != nil || len(found) != 1 || found[0].Kind != audit.Unreadable || found[0].Part != 1 {
		t.Errorf("Report of XFS = %v, %v, want that it is unreadable", found, err)
	}
	cut := system(t, nil)
	found, err = audit.Report(t.Context(), disks(cut[:2*mib+mib/4]), nil)
	if err != nil || len(found) == 0 {
		t.Errorf("Report of a cut disk = %v, %v, want that it is unreadable", found, err)
	}
}

// artifact has a disk.
type artifact struct {
	bake.Artifact
	disk []byte
}

func (a artifact) ReadDisks(_ context.Context, read func(bake.SystemDisks) error) error {
	return read(disks(a.disk))
}

func TestDisksCheck(t *testing.T) {
	check := audit.Disks{}
	if err := check.CheckArtifact(t.Context(), artifact{disk: system(t, nil)}); err != nil {
		t.Errorf("CheckArtifact of a clean disk: %v", err)
	}
	bad := artifact{disk: system(t, map[string]disktest.File{"/etc/machine-id": {Content: "1234\n"}})}
	if err := check.CheckArtifact(t.Context(), bad); !errors.Is(err, audit.ErrFound) || !strings.Contains(err.Error(), "/etc/machine-id") {
		t.Errorf("CheckArtifact = %v, want ErrFound with the machine id", err)
	}
	if err := (audit.Disks{Options: audit.Options{Allow: []audit.Kind{"nothing"}, AllowPaths: []string{"["}}}).Validate(); err == nil {
		t.Error("Validate of an unknown kind and an invalid pattern succeeded")
	}
}
