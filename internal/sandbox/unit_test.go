package sandbox_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

const appUnit = `cat >/etc/systemd/system/app.service <<'E'
[Unit]
Description=The app
[Service]
User=app
Environment=A=1 "B=two words"
EnvironmentFile=-/etc/default/app
RuntimeDirectory=app
ExecStartPre=/bin/mkdir -p /tmp/pre
ExecStart=/opt/app.sh $A ${B} ${C} %n
[Install]
WantedBy=multi-user.target
E
useradd -r app; echo C=three >/etc/default/app
printf '#!/bin/sh\nid -un; echo "$#: $*"; exec sleep 1000\n' >/opt/app.sh; chmod +x /opt/app.sh
systemctl daemon-reload
`

func TestSystemctl(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name, script, out, err string
		}{
			{"life of a unit", appUnit + `systemctl is-enabled app; systemctl is-active app; systemctl enable --now app; sleep 1; systemctl is-enabled app; systemctl is-active app; journalctl -u app; stat -c '%U %a' /run/app; ls -d /tmp/pre
readlink /etc/systemd/system/multi-user.target.wants/app.service; systemctl stop app; systemctl is-active app; systemctl disable app; systemctl is-enabled app; pgrep -x sleep | wc -l`,
				"disabled\ninactive\nenabled\nactive\napp\n4: 1 two words three app.service\napp 755\n/tmp/pre\n/etc/systemd/system/app.service\ninactive\ndisabled\n0\n", "Created symlink /etc/systemd/system/multi-user.target.wants/app.service → /etc/systemd/system/app.service.\nRemoved"},
			{"missing", `systemctl start nope; echo $?; systemctl enable nope; echo $?; systemctl is-active nope; echo $?; systemctl is-enabled nope; echo $?; systemctl status nope; echo $?; systemctl frob; echo $?`,
				"5\n1\ninactive\n4\nnot-found\n4\n4\n1\n", "Failed to start nope.service: Unit nope.service not found.\nFailed to enable unit: Unit file nope.service does not exist.\n"},
			{"not root", `su ubuntu -c 'systemctl start ssh; systemctl enable ssh; systemctl is-active -q ssh; echo $?'`, "0\n", "Failed to start ssh.service: Interactive authentication required.\nFailed to enable unit: Interactive"},
			{"mask", `apt-get install -y nginx >/dev/null; systemctl is-active nginx; systemctl mask --now nginx; systemctl is-enabled nginx; systemctl start nginx; echo $?; systemctl unmask nginx; systemctl start nginx; systemctl is-active nginx`,
				"active\nmasked\n1\nactive\n", "Created symlink /etc/systemd/system/nginx.service → /dev/null.\nFailed to start nginx.service: Unit nginx.service is masked.\n"},
			{"failures", `unit() { printf "[Service]\n$1\n" >/etc/systemd/system/x.service; systemctl daemon-reload; systemctl restart x; echo "$? $(systemctl is-active x)"; }
unit 'Type=oneshot\nExecStart=/bin/false'; unit 'Type=oneshot\nExecStart=-/bin/false'; unit 'Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true'; systemctl stop x; unit 'ExecStart=/opt/nope'; unit 'Type=exec\nExecStart=/opt/nope'; unit 'User=nobody2\nType=oneshot\nExecStart=/bin/true'; unit 'ExecStart=/usr/bin/node server.js'; systemctl show -p ActiveState --value x`,
				"1 failed\n0 inactive\n0 active\n0 failed\n1 failed\n1 failed\n0 active\nactive\n", "Job for x.service failed"},
			{"templates and drop-ins", `printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c "echo got %%i >/tmp/%%i"\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/w@.service; systemctl enable --now w@one w@two; cat /tmp/one /tmp/two; systemctl is-active w@one w@three
mkdir /etc/systemd/system/w@one.service.d; printf '[Service]\nExecStart=\nExecStart=/bin/sh -c "echo other >/tmp/one"\n' >/etc/systemd/system/w@one.service.d/o.conf; systemctl restart w@one; cat /tmp/one`,
				"got one\ngot two\nactive\ninactive\nother\n", ""},
			{"service", `apt-get install -y nginx >/dev/null; service nginx restart; service nginx status | head -n 1; ss -Hltn | tr -s ' '; service nginx stop; ss -Hltn | tr -s ' '`,
				"● nginx.service - nginx\nLISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 128 0.0.0.0:80 0.0.0.0:*\nLISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n", ""},
		} {
			h := boot(t, sandbox.Options{})
			got := run(t, h, sandbox.Exec{Line: c.script})
			if got.out != c.out || !strings.Contains(got.err, c.err) {
				t.Errorf("%s:\noutput %q\n  want %q\nerrors %q\n  want %q", c.name, got.out, c.out, got.err, c.err)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestServicesStartAtBoot: enabled services run after a reboot and in an image,
// others do not.
func TestServicesStartAtBoot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := boot(t, sandbox.Options{Ports: map[string][]int{"app": {8080}}})
		run(t, h, sandbox.Exec{Line: appUnit + "systemctl enable app; apt-get install -y nginx; systemctl disable nginx"})
		image := h.FS().Clone()
		if err := h.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		other := boot(t, sandbox.Options{FS: image, InstanceID: "i-other", Ports: map[string][]int{"app": {8080}}})
		for name, h := range map[string]*sandbox.Host{"rebooted": h, "of the image": other} {
			got := run(t, h, sandbox.Exec{Line: "sleep 1; systemctl is-active app nginx; ss -Hltn | grep -c 8080; journalctl -u app | head -n 1"})
			if got.out != "active\ninactive\n1\napp\n" {
				t.Errorf("%s: %+v, want app to run and nginx not", name, got)
			}
		}
		for _, h := range []*sandbox.Host{h, other} {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func nothing(context.Context, *sandbox.Process) int { return 0 }
