package ec2_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// litter is a script that creates the files that the installation of a Debian,
// cloud-init, systemd and logins leave behind.
const litter = `set -e
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

// reportLitter is a script that prints what is wrong after a complete clean-up.
const reportLitter = `
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

// TestGuestCleanupOnDebian cleans a real Debian, whose sshd stands in for the instance.
func TestGuestCleanupOnDebian(t *testing.T) {
	guest := testenv.Guest(t, nil)
	m := guest.Machine(t, nil)
	server := newServer(t, nil)
	cloud := newCloud(server)
	var authorize sync.Once
	dial := func(ctx context.Context, to ec2.SSHTarget) (net.Conn, error) {
		// Do what cloud-init does with our user data.
		authorize.Do(func() {
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
		Name: "littered",
		Builder: ec2.Builder{
			Cloud: cloud, Source: ubuntu(), SSH: ec2.SSH{User: guest.User, Dial: dial, HostKey: sshmachine.FixedHostKey(guest.HostKey), ConnectTimeout: 10 * time.Hour}, // real sshd, scaled clock
			GuestCleanup: ec2.GuestCleanup{Also: []ec2.CleanupItem{ec2.PackageCaches}},
		},
		Provisioners: []bake.Provisioner{provision.Script{Content: litter, Sudo: true}},
	}
	if _, err := bake.Bake(t.Context(), nil, img); err != nil {
		t.Fatal(err)
	}
	if out, err := bake.Output(t.Context(), m, &bake.Cmd{Line: reportLitter, Sudo: true}); err != nil || out != "" {
		t.Errorf("after the clean-up, the guest reports (error %v):\n%s", err, out)
	}
}
