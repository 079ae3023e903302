package ec2_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// used is what a Debian leaves behind that was installed and logged into, and
// what cloud-init, systemd and people would.
const used = `set -e
mkdir -p /var/lib/cloud/instances/i-1 /var/lib/cloud/scripts/per-boot /var/lib/dhcp /var/log/journal/m /var/lib/systemd /var/log/nginx
echo our-user-data >/var/lib/cloud/instances/i-1/user-data.txt
ln -sfn instances/i-1 /var/lib/cloud/instance
echo stays >/var/lib/cloud/scripts/per-boot/ours
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
for f in /root/.bash_history /home/baker/.bash_history /home/baker/.viminfo /var/log/journal/m/system.journal /var/log/auth.log.1 \
	/var/log/syslog.2.gz '/tmp/a file' /tmp/.hidden /var/tmp/x /var/lib/dhcp/dhclient.eth0.leases /var/lib/systemd/random-seed; do
	echo a trace >"$f"
done
echo was here | tee /var/log/auth.log >/var/log/nginx/access.log
chown root:adm /var/log/auth.log
chmod 640 /var/log/auth.log
touch /var/lib/apt/lists/archive_dists_x_InRelease
test -s /etc/ssh/ssh_host_ed25519_key
test -s /var/cache/apt/archives/sudo_*.deb
`

// cleaned says what is not as it should be after the hygiene of all traces.
const cleaned = `
gone() { for f in "$@"; do if [ -e "$f" ] || [ -L "$f" ]; then echo "$f is there"; fi; done; }
gone /var/lib/cloud/instance /var/lib/cloud/instances /etc/ssh/ssh_host_* /root/.bash_history /home/baker/.bash_history /home/baker/.viminfo
gone /var/log/journal/m/system.journal /var/log/auth.log.1 /var/log/syslog.2.gz '/tmp/a file' /tmp/.hidden /var/tmp/x
gone /var/lib/dhcp/*.leases /var/lib/systemd/random-seed /var/lib/apt/lists/*_* /var/cache/apt/archives/*.deb
for f in /etc/machine-id /var/log/auth.log /var/log/nginx/access.log; do
	if [ ! -f "$f" ] || [ -s "$f" ]; then echo "$f is not empty"; fi
done
[ "$(cat /var/lib/cloud/scripts/per-boot/ours)" = stays ] || echo "a per-boot script is gone"
[ "$(stat -c %U:%G:%a /var/log/auth.log)" = root:adm:640 ] || echo "auth.log has another owner or mode"
[ "$(stat -c %a /tmp)" = 1777 ] || echo "/tmp is not as it was"
[ "$(cat /home/baker/.ssh/authorized_keys)" = "ssh-ed25519 AAAA team" ] || cat /home/baker/.ssh/authorized_keys
[ "$(stat -c %U:%a /home/baker/.ssh/authorized_keys)" = baker:600 ] || echo "authorized_keys has another owner or mode"
`

// TestGuestCleanupOnDebian cleans a real Debian, whose sshd stands for the instance.
func TestGuestCleanupOnDebian(t *testing.T) {
	guest := testenv.Guest(t, nil)
	m := guest.Machine(t, nil)
	server := newServer(t, nil)
	cloud := newCloud(server)
	var letIn sync.Once
	dial := func(ctx context.Context, to ec2.SSHTarget) (net.Conn, error) {
		// What cloud-init does with our user data.
		letIn.Do(func() {
			out, err := cloud.Client("").DescribeInstanceAttribute(ctx, &awsec2.DescribeInstanceAttributeInput{
				InstanceId: &to.InstanceID, Attribute: ec2types.InstanceAttributeNameUserData,
			})
			if err != nil {
				t.Error(err)
				return
			}
			key := cloudConfig(t, *out.UserData.Value).Authorized[0]
			if err := m.Run(ctx, &bake.Cmd{Line: `echo "$key" >>/etc/bakestone-test/authorized_keys`, Env: map[string]string{"key": key}, Sudo: true}); err != nil {
				t.Error(err)
			}
			if err := m.Put(ctx, &bake.Upload{
				Dest: "/home/baker/.ssh/authorized_keys", Mode: 0o600, Content: strings.NewReader("ssh-ed25519 AAAA team\n" + key + "\n"),
			}); err != nil {
				t.Error(err)
			}
		})
		return new(net.Dialer).DialContext(ctx, "tcp", guest.Addr)
	}
	img := &bake.Image{
		Name: "used",
		Builder: ec2.Builder{
			Cloud: cloud, Source: ubuntu(), SSH: ec2.SSH{User: guest.User, Dial: dial, HostKey: sshmachine.FixedKey(guest.HostKey)},
			GuestCleanup: ec2.GuestCleanup{Also: []ec2.CleanupItem{ec2.PackageCaches}},
		},
		Provisioners: []bake.Provisioner{provision.Script{Content: used, Sudo: true}},
	}
	if _, err := bake.Bake(t.Context(), fastOptions(), img); err != nil {
		t.Fatal(err)
	}
	if wrong, err := bake.Output(t.Context(), m, &bake.Cmd{Line: cleaned, Sudo: true}); err != nil || wrong != "" {
		t.Errorf("on the guest: %v\n%s", err, wrong)
	}
}
