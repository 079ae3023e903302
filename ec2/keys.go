package ec2

import (
	"context"
	"log/slog"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// keys are made for one instance and worth nothing without it: the host key
// that we inject and pin, and the client key that logs in. No key pair of
// EC2's is involved.
type keys struct {
	HostPrivate   string `json:"host_private"`
	HostPublic    string `json:"host_public"`
	ClientPrivate string `json:"client_private"`
	ClientPublic  string `json:"client_public"`
}

func (s *session) makeKeys(context.Context) error {
	host, err := sshmachine.NewKeyPair("")
	if err != nil {
		return err
	}
	client, err := sshmachine.NewKeyPair("bakestone-" + s.run.ID)
	if err != nil {
		return err
	}
	s.Keys = keys{
		HostPrivate: host.Private.Reveal(), HostPublic: host.AuthorizedKey,
		ClientPrivate: client.Private.Reveal(), ClientPublic: client.AuthorizedKey,
	}
	s.run.Mask(host.Private, client.Private)
	return nil
}

// cleanGuest removes what we put into the guest: the client key from every
// authorized_keys, and cloud-init's copies of our user data, which hold the
// host key. The next instance gets its own of both.
func (s *session) cleanGuest(ctx context.Context) error {
	m, err := s.Connect(ctx)
	if err != nil {
		return err
	}
	err = m.Run(ctx, &bake.Cmd{
		Line: cleanScript,
		Env:  map[string]string{"BAKESTONE_KEY": keyBlob(s.Keys.ClientPublic)},
		Sudo: true,
	})
	if closeErr := m.Close(); err == nil && closeErr != nil {
		s.run.Log.Debug("closing the connection", slog.String("error", closeErr.Error()))
	}
	return err
}

const cleanScript = `set -e
for file in /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys; do
	if [ -f "$file" ] && grep -qF "$BAKESTONE_KEY" "$file"; then
		others=$(grep -vF "$BAKESTONE_KEY" "$file" || true)
		if [ -n "$others" ]; then printf '%s\n' "$others" >"$file"; else : >"$file"; fi
	fi
done
rm -rf /var/lib/cloud/instance /var/lib/cloud/instances
sync
`
