package ec2_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// newKey returns a new key pair, and its public key for package ssh.
func newKey(t *testing.T) (*sshmachine.KeyPair, ssh.PublicKey) {
	t.Helper()
	pair, err := sshmachine.NewKeyPair("")
	if err != nil {
		t.Fatal(err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(pair.AuthorizedKey))
	if err != nil {
		t.Fatal(err)
	}
	return pair, public
}

// hostKeyData returns user data that sets the host key of an instance, and its
// certificate unless empty.
func hostKeyData(t *testing.T, key *sshmachine.KeyPair, certificate string) []byte {
	t.Helper()
	keys := map[string]string{"ed25519_private": key.Private.Reveal(), "ed25519_public": key.AuthorizedKey}
	if certificate != "" {
		keys["ed25519_certificate"] = certificate
	}
	config, err := json.Marshal(map[string]any{"ssh_keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte("#cloud-config\n"), config...)
}

// certify signs a host key for the address of the instances in TestHostKeys.
func certify(t *testing.T, authority *sshmachine.KeyPair, key ssh.PublicKey) string {
	t.Helper()
	signer, err := ssh.ParsePrivateKey([]byte(authority.Private.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	certificate := &ssh.Certificate{
		Key: key, CertType: ssh.HostCert, ValidBefore: ssh.CertTimeInfinity, ValidPrincipals: []string{"172.31.16.9"},
	}
	if err := certificate.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(certificate))
}

func TestHostKeys(t *testing.T) {
	own, ownPublic := newKey(t)
	authority, authorityPublic := newKey(t)
	_, foreign := newKey(t)
	at := netip.MustParseAddr("172.31.16.9")
	for name, test := range map[string]struct {
		change  func(*ec2.Builder)
		refused bool
	}{
		"injected": {change: func(*ec2.Builder) {}},
		"fixed key": {change: func(b *ec2.Builder) {
			b.UserData, b.SSH.HostKey = hostKeyData(t, own, ""), sshmachine.FixedHostKey(ownPublic)
		}},
		"wrong fixed key": {change: func(b *ec2.Builder) {
			b.UserData, b.SSH.HostKey = hostKeyData(t, own, ""), sshmachine.FixedHostKey(foreign)
		}, refused: true},
		"authority": {change: func(b *ec2.Builder) {
			b.UserData, b.SSH.HostKey = hostKeyData(t, own, certify(t, authority, ownPublic)), sshmachine.HostCA(authorityPublic)
		}},
		"wrong authority": {change: func(b *ec2.Builder) {
			b.UserData, b.SSH.HostKey = hostKeyData(t, own, certify(t, authority, ownPublic)), sshmachine.HostCA(foreign)
		}, refused: true},
		"console":           {change: func(b *ec2.Builder) { b.SSH.ConsoleHostKey = true }},
		"console, old type": {change: func(b *ec2.Builder) { b.SSH.ConsoleHostKey, b.InstanceTypes = true, []string{"t2.micro"} }},
		"insecure":          {change: func(b *ec2.Builder) { b.SSH.HostKey = sshmachine.InsecureAnyHostKey() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				b := ec2.Builder{Cloud: newCloud(server), Source: ubuntu(), Network: ec2.Network{PrivateIP: at}, SSH: ec2.SSH{Address: ec2.PrivateAddress}}
				test.change(&b)
				_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "verified", Builder: b})
				if refusal, refused := errors.AsType[*sshmachine.HostKeyError](err); refused != test.refused || refusal == nil && err != nil {
					t.Errorf("Bake() error = %v, want a HostKeyError: %t", err, test.refused)
				}
				injected := strings.Contains(userDataOf(t, server), "ssh_keys")
				if want := name == "injected" || len(b.UserData) > 0; injected != want {
					t.Errorf("user data has a host key: %t, want %t", injected, want)
				}
			})
		})
	}
}

// userDataOf returns all parts of the first launch's user data.
func userDataOf(t *testing.T, server *ec2test.Server) string {
	t.Helper()
	_, bodies := parts(t, paramsOf(t, server, "RunInstances").Get("UserData"))
	return strings.Join(bodies, "\n")
}

// TestConsoleHostKeyOfOtherMachine connects to another machine than the one whose
// console output was read.
func TestConsoleHostKeyOfOtherMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		o := cloudOptions(server)
		cloud := ec2.NewCloud(server.Config(testRegion), o)
		other := launchPlain(t, cloud, "172.31.0.44", nil)
		b := ec2.Builder{Cloud: cloud, Source: ubuntu(), SSH: ec2.SSH{
			ConsoleHostKey: true,
			Dial:           func(ctx context.Context, _ ec2.SSHTarget) (net.Conn, error) { return server.DialInstance(ctx, other) },
		}}
		_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "console", Builder: b})
		if _, refused := errors.AsType[*sshmachine.HostKeyError](err); !refused {
			t.Errorf("Bake() error = %v, want a HostKeyError", err)
		}
	})
}

// TestHostKeyStaysPinned puts another machine in the place of the instance during a
// reboot, before a resume and for the check machine. It must be rejected at once.
// sshmachine.TestVia does so behind bastions.
func TestHostKeyStaysPinned(t *testing.T) {
	for _, when := range []string{"reboot", "resume", "check"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud := newCloud(server)
				var first string // the instance of the bake
				var replaced atomic.Bool
				other := launchPlain(t, cloud, "172.31.0.44", nil)
				img := simple(cloud)
				configure(img, func(b *ec2.Builder) {
					b.SSH.Dial = func(ctx context.Context, to ec2.SSHTarget) (net.Conn, error) {
						if first == "" {
							first = to.InstanceID
						}
						if replaced.Load() || when == "check" && to.InstanceID != first {
							return server.DialInstance(ctx, other)
						}
						return server.DialInstance(ctx, to.InstanceID)
					}
				})
				switch when {
				case "reboot":
					img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
						replaced.Store(true)
						return m.Reboot(ctx, nil)
					}})
				case "check":
					img.Checks = []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error { return m.Run(ctx, bake.Sh("true")) }}}
				}
				options := &bake.Options{}
				if when == "resume" {
					options.Store, options.Resume = pinnedStore(t, server, img)
					replaced.Store(true)
				}
				began := time.Now()
				_, err := bake.Bake(t.Context(), options, img)
				if _, refused := errors.AsType[*sshmachine.HostKeyError](err); !refused {
					t.Errorf("Bake() error = %v, want a HostKeyError", err)
				}
				if took := time.Since(began); took > 5*time.Minute {
					t.Errorf("Bake() took %v, want less than ConnectTimeout", took)
				}
				server.Mend()
				if err := server.TerminateInstance(other); err != nil {
					t.Fatal(err)
				}
				wantNoLeftovers(t, server)
			})
		})
	}
}

// pinnedStore bakes img in a process that dies in the second provisioner, and returns
// its store and record.
func pinnedStore(t *testing.T, server *ec2test.Server, img *bake.Image) (bake.Store, []*bake.Record) {
	t.Helper()
	store := &frozenStore{begun: "provision 2: dies"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	img.Provisioners[1] = bake.ProvisionFunc{Name: "dies", Do: func(context.Context, bake.Machine) error {
		for _, undo := range []string{"TerminateInstances", "DeleteSecurityGroup"} {
			server.Fail(ec2test.Fault{Action: undo, Times: -1, Code: "UnauthorizedOperation"})
		}
		cancel()
		return ctx.Err()
	}}
	if _, err := bake.Bake(ctx, &bake.Options{Store: store}, img); err == nil {
		t.Fatal("Bake() error = nil, want that of the provisioner")
	}
	server.Mend()
	return store.Store, []*bake.Record{store.load(t)}
}

// launchPlain launches an Ubuntu outside of any bake, and returns its id.
func launchPlain(t *testing.T, cloud *ec2.Cloud, address string, userData []byte) string {
	t.Helper()
	client := cloud.Client("")
	images, err := client.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{
		Owners: []string{ec2.Canonical}, Filters: []ec2types.Filter{{Name: aws.String("architecture"), Values: []string{"x86_64"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	run, err := client.RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		PrivateIpAddress: aws.String(address), UserData: aws.String(base64.StdEncoding.EncodeToString(userData)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return *run.Instances[0].InstanceId
}

// TestSSHAuth logs in with a key that the image has, and checks that the user
// data has no client key.
func TestSSHAuth(t *testing.T) {
	pair, public := newKey(t)
	for name, auth := range map[string]sshmachine.Auth{
		"key":   sshmachine.PrivateKey([]byte(pair.Private.Reveal()), bake.Secret{}),
		"agent": sshmachine.Agent(keyAgent(t, pair)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, &ec2test.Options{Images: []ec2test.Image{{
					Name: "own", Login: "ubuntu",
					Files: map[string]string{"/home/ubuntu/.ssh/authorized_keys": pair.AuthorizedKey + "\n"},
				}}})
				results, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "own", Builder: ec2.Builder{
					Cloud: newCloud(server), Source: ec2.Newest{Owners: []string{ec2.Self}, Name: "own"}, SSH: ec2.SSH{User: "ubuntu", Auth: []sshmachine.Auth{auth}},
				}})
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range callsOf(server.Calls(), "RunInstances") {
					if config := cloudConfig(t, c.Params.Get("UserData")); len(config.Authorized) != 0 || config.Keys["ed25519_private"] == "" {
						t.Errorf("user data = %+v, want only a host key", config)
					}
				}
				kept, err := server.ReadFile(results[0].Artifact.ID(), "/home/ubuntu/.ssh/authorized_keys")
				if err != nil || !bytes.Contains(kept, []byte(strings.Fields(pair.AuthorizedKey)[1])) {
					t.Errorf("authorized_keys of the AMI = %q, %v, want the image's key %s", kept, err, ssh.FingerprintSHA256(public))
				}
			})
		})
	}
}

// TestMetadataOff bakes without the instance metadata service, with the login's key that
// the image has. The embedded machine's cloud-init creates a new host key.
func TestMetadataOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		login, _ := newKey(t)
		server := newServer(t, &ec2test.Options{Images: []ec2test.Image{{
			Name: "own", Login: "ubuntu", Files: map[string]string{
				"/home/ubuntu/.ssh/authorized_keys": login.AuthorizedKey + "\n",
			},
		}}})
		img := &bake.Image{Name: "own", Builder: ec2.Builder{
			Cloud: newCloud(server), Source: ec2.Newest{Owners: []string{ec2.Self}, Name: "own"}, Metadata: ec2.Metadata{Off: true},
			SSH: ec2.SSH{
				User: "ubuntu", HostKey: sshmachine.InsecureAnyHostKey(),
				Auth: []sshmachine.Auth{sshmachine.PrivateKey([]byte(login.Private.Reveal()), bake.Secret{})},
			},
		}, Checks: []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error { return m.Run(ctx, bake.Sh("true")) }}}}
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Fatal(err)
		}
		params := paramsOf(t, server, "RunInstances")
		if endpoint := params.Get("MetadataOptions.HttpEndpoint"); endpoint != "disabled" || params.Has("UserData") {
			t.Errorf("RunInstances: endpoint %q with user data %t, want disabled without", endpoint, params.Has("UserData"))
		}
	})
}

// TestKeyPair logs in with the private key of an EC2 key pair.
func TestKeyPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pair, public := newKey(t)
		server := newServer(t, nil)
		cloud := newCloud(server)
		if _, err := cloud.Client("").ImportKeyPair(t.Context(), &awsec2.ImportKeyPairInput{
			KeyName: aws.String("team"), PublicKeyMaterial: ssh.MarshalAuthorizedKey(public),
		}); err != nil {
			t.Fatal(err)
		}
		img := simple(cloud)
		b := ec2.Builder{Cloud: cloud, Source: ubuntu(), SSH: ec2.SSH{
			KeyPair: "team", Auth: []sshmachine.Auth{sshmachine.PrivateKey([]byte(pair.Private.Reveal()), bake.Secret{})},
		}}
		img.Builder = b
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Fatal(err)
		}
		if policy := ec2.Policy(cloud, img).String(); !strings.Contains(policy, "arn:aws:ec2:eu-west-1:*:key-pair/team") {
			t.Errorf("Policy() lacks the key pair: %s", policy)
		}
		b.SSH.KeyPair = "none"
		img.Builder = b
		_, err := bake.Bake(t.Context(), nil, img)
		wantError(t, "Bake", err, `Builder.SSH.KeyPair: "none" not found in eu-west-1`)
		for _, r := range server.Resources(func(r ec2test.Resource) bool { return r.Type == "instance" && r.State == "running" }) {
			t.Errorf("%s is running, want it terminated", r)
		}
	})
}

// keyAgent returns a func that dials an SSH agent with the key.
func keyAgent(t *testing.T, pair *sshmachine.KeyPair) func(context.Context) (net.Conn, error) {
	t.Helper()
	private, err := ssh.ParseRawPrivateKey([]byte(pair.Private.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	return func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { _ = agent.ServeAgent(ring, server) }()
		return client, nil
	}
}

// TestBastion bakes on an instance that only a bastion in its VPC can reach.
func TestBastion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		host, hostPublic := newKey(t)
		login, _ := newKey(t)
		groups, err := cloud.Client("").DescribeSecurityGroups(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		openSSH(t, cloud, groups.SecurityGroups[0].GroupId, "127.0.0.1/32")
		data := bytes.TrimSuffix(hostKeyData(t, host, ""), []byte("}"))
		data = append(data, []byte(`,"ssh_authorized_keys":["`+strings.TrimSpace(login.AuthorizedKey)+`"]}`)...)
		launchPlain(t, cloud, "172.31.0.44", data)
		recorder := &dialRecorder{dial: server.Dial}
		o := cloudOptions(server)
		o.Dial = recorder.Dial
		b := ec2.Builder{
			Cloud: ec2.NewCloud(server.Config(testRegion), o), Source: ubuntu(), Network: ec2.Network{PublicIP: ec2.Disabled},
			SSH: ec2.SSH{From: []netip.Prefix{netip.MustParsePrefix("172.31.0.44/32")}, Via: []sshmachine.Hop{{
				Addr: "172.31.0.44", User: "ubuntu", HostKey: sshmachine.FixedHostKey(hostPublic),
				Auth: []sshmachine.Auth{sshmachine.PrivateKey([]byte(login.Private.Reveal()), bake.Secret{})},
			}}},
		}
		img := &bake.Image{Name: "hidden", Builder: b, Provisioners: []bake.Provisioner{provision.Shell("true")}}
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Fatal(err)
		}
		for _, addr := range recorder.addresses() {
			if addr != "172.31.0.44:22" {
				t.Errorf("dialed %s, want only the bastion", addr)
			}
		}
	})
}

// TestSSHDial bakes over a connection that needs no route, address or rule.
func TestSSHDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		var mu sync.Mutex
		var targets []ec2.SSHTarget
		b := ec2.Builder{Cloud: newCloud(server), Source: ubuntu(), Network: ec2.Network{PublicIP: ec2.Disabled}, SSH: ec2.SSH{
			Dial: func(ctx context.Context, to ec2.SSHTarget) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				targets = append(targets, to)
				return server.DialInstance(ctx, to.InstanceID)
			},
		}}
		if _, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "session", Builder: b}); err != nil {
			t.Fatal(err)
		}
		if groups, rules := server.CallCount("CreateSecurityGroup"), server.CallCount("AuthorizeSecurityGroupIngress"); groups != 1 || rules != 0 {
			t.Errorf("security groups = %d with %d rules, want 1 with 0", groups, rules)
		}
		if len(targets) == 0 || targets[0].Region != testRegion || targets[0].Port != 22 || !strings.HasPrefix(targets[0].InstanceID, "i-") || !strings.HasPrefix(targets[0].Address, "172.31.") {
			t.Errorf("Dial targets = %+v, want the instance's private address in %s and port 22", targets, testRegion)
		}
	})
}

// TestSSHPort connects to another port, and checks that only this port is open.
func TestSSHPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		var configured sshmachine.Config
		b := ec2.Builder{
			Cloud: newCloud(server), Source: ubuntu(), SSH: ec2.SSH{From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
				Port:      2222,
				Configure: func(c *sshmachine.Config) { c.KeepAliveInterval, configured = time.Minute, *c },
				Dial: func(ctx context.Context, to ec2.SSHTarget) (net.Conn, error) {
					if to.Port != 2222 {
						t.Errorf("Dial port = %d, want 2222", to.Port)
					}
					return server.DialInstance(ctx, to.InstanceID) // always port 22
				},
			},
		}
		if _, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "port", Builder: b}); err != nil {
			t.Fatal(err)
		}
		rule := paramsOf(t, server, "AuthorizeSecurityGroupIngress")
		for name, want := range map[string]string{"FromPort": "2222", "ToPort": "2222", "IpRanges.1.CidrIp": "192.0.2.0/24"} {
			if got := rule.Get("IpPermissions.1." + name); got != want {
				t.Errorf("%s of the rule = %q, want %q", name, got, want)
			}
		}
		if !strings.HasSuffix(configured.Addr, ":2222") {
			t.Errorf("Configure() got the address %s, want port 2222", configured.Addr)
		}
	})
}

// TestUnreachable checks that errors of connections name the fields to check.
func TestUnreachable(t *testing.T) {
	pair, _ := newKey(t)
	for name, test := range map[string]struct {
		change  func(*ec2.Builder)
		refused bool
		want    []string
	}{
		"security groups": {func(b *ec2.Builder) {
			b.Network.SecurityGroups, b.SSH.ConnectTimeout = []string{"default"}, time.Minute
		}, false,
			[]string{"no SSH connection within Builder.SSH.ConnectTimeout (1m0s)", "Builder.SSH.Address", "Builder.Network.SecurityGroups admits the baking host"}},
		"login": {func(b *ec2.Builder) { b.SSH.User = "nobody" }, true, []string{"refused login as nobody", "set Builder.SSH.User"}},
		"keys": {func(b *ec2.Builder) { b.SSH.Auth = []sshmachine.Auth{sshmachine.Signer(pair.Signer)} }, true,
			[]string{"refused login as ubuntu", "must have a key of Builder.SSH.Auth for the login ubuntu"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				b := ec2.Builder{Cloud: newCloud(server), Source: ubuntu()}
				test.change(&b)
				_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "far", Builder: b})
				wantError(t, "Bake", err, test.want...)
				if _, refused := errors.AsType[*sshmachine.AuthError](err); refused != test.refused {
					t.Errorf("Bake() error = %v, want an AuthError: %t", err, test.refused)
				}
				wantNoLeftovers(t, server)
			})
		})
	}
}

// TestServerWithoutEd25519 connects to an instance whose server, as in FIPS mode, has no
// ed25519 host key and accepts no ed25519 client key.
func TestServerWithoutEd25519(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		loggedIn := false
		b := ec2.Builder{Cloud: ec2.NewCloud(server.Config(testRegion), cloudOptions(server)), Source: ubuntu(), SSH: ec2.SSH{
			Dial: func(context.Context, ec2.SSHTarget) (net.Conn, error) {
				near, far := loopback(t)
				go func() {
					defer cancel()
					config := cloudConfig(t, paramsOf(t, server, "RunInstances").Get("UserData"))
					host, err := ssh.ParsePrivateKey([]byte(config.Keys["ecdsa_private"]))
					if err != nil {
						t.Errorf("host key: %v", err)
						return
					}
					accept := &ssh.ServerConfig{
						PublicKeyAuthAlgorithms: []string{ssh.KeyAlgoECDSA256},
						PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
							for _, line := range config.Authorized {
								if known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil && bytes.Equal(known.Marshal(), key.Marshal()) {
									return &ssh.Permissions{}, nil
								}
							}
							return nil, errors.New("unknown key")
						},
					}
					accept.AddHostKey(host)
					_, _, _, err = ssh.NewServerConn(far, accept)
					loggedIn = err == nil
					if err != nil {
						t.Errorf("login: %v", err)
					}
				}()
				return near, nil
			},
		}}
		_, err := bake.Bake(ctx, nil, &bake.Image{Name: "fips", Builder: b})
		if !errors.Is(err, context.Canceled) || !loggedIn {
			t.Errorf("Bake() error = %v, logged in: %v, want Canceled after a login", err, loggedIn)
		}
	})
}

// loopback returns the ends of a TCP connection.
func loopback(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err = new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err == nil {
		far, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	return near, far
}
