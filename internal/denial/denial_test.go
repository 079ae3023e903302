package denial_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/internal/denial"
)

func TestIs(t *testing.T) {
	for message, want := range map[string]bool{
		"/tmp/x: 1: cannot create /etc/motd: Permission denied":                                                      true,
		"chown: changing ownership of 'x': Operation not permitted":                                                  true,
		"E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)":                     true,
		"E: Unable to acquire the dpkg frontend lock, are you root?":                                                 true,
		"Error: This command has to be run with superuser privileges (under the root user).":                         true,
		"You need to be root to perform this command.":                                                               true,
		"error: you cannot perform this operation unless you are root.":                                              true,
		"Root privileges are required to run this command.":                                                          true,
		"mount: only root can do that":                                                                               true,
		"Failed to restart nginx.service: Interactive authentication required.":                                      true,
		"Failed to enable unit: Access denied":                                                                       true,
		"iptables v1.8.10 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)": true,
		"PermissionError: [Errno 13] Permission denied: '/etc/motd'":                                                 true,
		"git@example.com: Permission denied (publickey,password).":                                                   false,
		"upload failed: An error occurred (AccessDenied) when calling PutObject: Access Denied":                      false,
		"No such file or directory":                                                                                  false,
		"":                                                                                                           false,
	} {
		if got := denial.Is(message); got != want {
			t.Errorf("Is(%q) = %v, want %v", message, got, want)
		}
	}
}
