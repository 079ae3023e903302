package sshmachine

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/bakestone-go/bakestone/bake"
)

// An Auth is one way to log in to a server. It is made by [Signer],
// [PrivateKey], [Certificate], [Agent], [AgentSocket], [Password] or
// [KeyboardInteractive]. [Connect] reports an invalid Auth.
type Auth struct {
	err     error
	signer  ssh.Signer
	agent   func(ctx context.Context) (net.Conn, error)
	secret  bake.Secret
	answers AnswerFunc

	// Credentials that Machine.ReachSSH can hand to another program.
	pem         bake.Secret
	certificate string
	socket      func() (string, error)
}

// Signer logs in with a key that the program already holds.
func Signer(s ssh.Signer) Auth {
	if s == nil {
		return Auth{err: errors.New("signer is nil")}
	}
	return Auth{signer: s}
}

// PrivateKey logs in with a private key in PEM format, as written by ssh-keygen.
// The passphrase is the zero Secret for an unencrypted key.
func PrivateKey(pem []byte, passphrase bake.Secret) Auth {
	signer, plain, err := parseKey(pem, passphrase)
	return Auth{signer: signer, pem: plain, err: err}
}

// Certificate logs in with an OpenSSH user certificate, the content of a
// "-cert.pub" file, and its private key. key and passphrase are as in
// [PrivateKey].
func Certificate(cert, key []byte, passphrase bake.Secret) Auth {
	signer, plain, err := parseKey(key, passphrase)
	if err != nil {
		return Auth{err: err}
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(cert)
	if err != nil {
		return Auth{err: fmt.Errorf("certificate: %w", err)}
	}
	parsed, ok := pub.(*ssh.Certificate) //lint:concrete package ssh parses certificates as public keys of this type
	if !ok {
		return Auth{err: fmt.Errorf("certificate: got a plain %s key", pub.Type())}
	}
	signer, err = ssh.NewCertSigner(parsed, signer)
	if err != nil {
		return Auth{err: fmt.Errorf("certificate: %w", err)}
	}
	return Auth{signer: signer, pem: plain, certificate: string(cert)}
}

// parseKey returns the key and its unencrypted PEM.
func parseKey(text []byte, passphrase bake.Secret) (ssh.Signer, bake.Secret, error) {
	if !passphrase.IsZero() {
		return parseEncryptedKey(text, []byte(passphrase.Reveal()))
	}
	signer, err := ssh.ParsePrivateKey(text)
	var missing *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &missing):
		return nil, bake.Secret{}, errors.New("private key: encrypted, but no passphrase given")
	case err != nil:
		return nil, bake.Secret{}, fmt.Errorf("private key: %w", err)
	}
	return signer, bake.NewSecret(string(text)), nil
}

func parseEncryptedKey(text, passphrase []byte) (ssh.Signer, bake.Secret, error) {
	fail := func(err error) (ssh.Signer, bake.Secret, error) {
		return nil, bake.Secret{}, fmt.Errorf("private key: %w", err)
	}
	key, err := ssh.ParseRawPrivateKeyWithPassphrase(text, passphrase)
	if err != nil {
		return fail(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return fail(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return fail(err)
	}
	return signer, bake.NewSecret(string(pem.EncodeToMemory(block))), nil
}

// Agent logs in with the keys of an SSH agent. dial connects to the agent once
// for each login attempt; the connection is closed after the attempt.
func Agent(dial func(ctx context.Context) (net.Conn, error)) Auth {
	if dial == nil {
		return Auth{err: errors.New("agent dial func is nil")}
	}
	return Auth{agent: dial}
}

// AgentSocket logs in with the keys of the SSH agent listening on the Unix
// socket at path. If path is empty, SSH_AUTH_SOCK is read at each login attempt.
func AgentSocket(path string) Auth {
	socket := func() (string, error) {
		if path != "" {
			return path, nil
		}
		if found := os.Getenv("SSH_AUTH_SOCK"); found != "" {
			return found, nil
		}
		return "", errors.New("SSH_AUTH_SOCK is not set")
	}
	auth := Agent(func(ctx context.Context) (net.Conn, error) {
		at, err := socket()
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, "unix", at)
	})
	auth.socket = socket
	return auth
}

// Password logs in with a password. It also answers a keyboard-interactive login
// that asks a single question with hidden input.
func Password(password bake.Secret) Auth {
	if password.IsZero() {
		return Auth{err: errors.New("password is empty")}
	}
	return Auth{secret: password}
}

// A Question is one prompt of a keyboard-interactive login.
type Question struct {
	Text string // the prompt, as sent by the server
	Echo bool   // whether the answer may be shown while it is typed
}

// An AnswerFunc returns one answer for each of the server's questions, in order.
// It may be called several times in one login.
type AnswerFunc func(ctx context.Context, instruction string, questions []Question) ([]bake.Secret, error)

// KeyboardInteractive logs in by answering the server's questions.
func KeyboardInteractive(answer AnswerFunc) Auth {
	if answer == nil {
		return Auth{err: errors.New("answer func is nil")}
	}
	return Auth{answers: answer}
}

// login is the client authentication of one attempt at one server.
type login struct {
	agents  []net.Conn
	err     error  // why there is no key to offer
	offered string // algorithms of the keys
	banner  string // what the server printed
	signed  string // the last key that signed, which is the one that logged in
}

// explain adds to a failed login's error what helps to find the cause.
func (l *login) explain(err error) error {
	if l.offered != "" {
		err = fmt.Errorf("%w (offered keys: %s; the server may not know them or not accept their algorithm, see PubkeyAcceptedAlgorithms)", err, l.offered)
	}
	if l.banner != "" {
		err = fmt.Errorf("%w; server's banner: %s", err, l.banner)
	}
	return err
}

// close closes the connections to agents.
func (l *login) close() {
	for _, conn := range l.agents {
		_ = conn.Close()
	}
}

// methods converts auths to package ssh's methods. That package tries each type of
// method once, so one method offers all keys.
func (l *login) methods(ctx context.Context, auths []Auth) []ssh.AuthMethod {
	var keys, passwords, interactive bool
	for _, a := range auths {
		keys = keys || a.signer != nil || a.agent != nil
		passwords = passwords || !a.secret.IsZero()
		interactive = interactive || a.answers != nil || !a.secret.IsZero()
	}
	var methods []ssh.AuthMethod
	if keys {
		methods = append(methods, ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			return l.signers(ctx, auths)
		}))
	}
	if passwords {
		secrets := secretsOf(auths)
		next := 0
		methods = append(methods, ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
			next++
			return secrets[(next-1)%len(secrets)], nil
		}), len(secrets)))
	}
	if interactive {
		methods = append(methods, ssh.KeyboardInteractive(challenge(ctx, auths)))
	}
	return methods
}

func secretsOf(auths []Auth) []string {
	var secrets []string
	for _, a := range auths {
		if !a.secret.IsZero() {
			secrets = append(secrets, a.secret.Reveal())
		}
	}
	return secrets
}

// signers returns the given keys followed by those of the agents. A failing
// agent is an error only if there is no other key.
func (l *login) signers(ctx context.Context, auths []Auth) ([]ssh.Signer, error) {
	var signers []ssh.Signer
	var errs []error
	for _, a := range auths {
		if a.signer != nil {
			signers = append(signers, a.signer)
		}
	}
	for _, a := range auths {
		if a.agent == nil {
			continue
		}
		conn, err := a.agent(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("agent: %w", err))
			continue
		}
		l.agents = append(l.agents, conn)
		held, err := agent.NewClient(conn).Signers()
		if err != nil {
			errs = append(errs, fmt.Errorf("agent: %w", err))
			continue
		}
		for _, s := range held {
			if !containsKey(signers, s) {
				signers = append(signers, s)
			}
		}
	}
	if len(signers) == 0 {
		l.err = errors.Join(append(errs, errors.New("no keys to offer"))...)
		return nil, l.err
	}
	var types []string
	for i, s := range signers {
		signers[i] = l.record(s)
		if t := s.PublicKey().Type(); !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	l.offered = strings.Join(types, ", ")
	return signers, nil
}

// record returns a signer that sets l.signed when it signs, which it does only if the
// server accepts its key. Signers of unknown abilities stay as they are.
func (l *login) record(s ssh.Signer) ssh.Signer {
	signer, ok := s.(ssh.AlgorithmSigner)
	if !ok {
		return s
	}
	recorded := recordedSigner{signer, l}
	if limited, ok := s.(ssh.MultiAlgorithmSigner); ok {
		return limitedSigner{recorded, limited.Algorithms()}
	}
	return recorded
}

type recordedSigner struct {
	ssh.AlgorithmSigner

	login *login
}

// Sign signs data.
func (s recordedSigner) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	s.login.signed = string(s.PublicKey().Marshal())
	return s.AlgorithmSigner.Sign(random, data)
}

// SignWithAlgorithm signs data.
func (s recordedSigner) SignWithAlgorithm(random io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	s.login.signed = string(s.PublicKey().Marshal())
	return s.AlgorithmSigner.SignWithAlgorithm(random, data, algorithm)
}

type limitedSigner struct {
	recordedSigner

	algorithms []string
}

// Algorithms returns the algorithms to sign with.
func (s limitedSigner) Algorithms() []string { return s.algorithms }

func containsKey(signers []ssh.Signer, s ssh.Signer) bool {
	for _, have := range signers {
		if bytes.Equal(have.PublicKey().Marshal(), s.PublicKey().Marshal()) {
			return true
		}
	}
	return false
}

func challenge(ctx context.Context, auths []Auth) ssh.KeyboardInteractiveChallenge {
	return func(_, instruction string, texts []string, echos []bool) ([]string, error) {
		if len(texts) == 0 {
			return nil, nil
		}
		questions := make([]Question, len(texts))
		for i := range texts {
			questions[i] = Question{Text: texts[i], Echo: echos[i]}
		}
		for _, a := range auths {
			if a.answers == nil {
				continue
			}
			secrets, err := a.answers(ctx, instruction, questions)
			if err != nil {
				return nil, err
			}
			answers := make([]string, len(secrets))
			for i, s := range secrets {
				answers[i] = s.Reveal()
			}
			return answers, nil
		}
		if secrets := secretsOf(auths); len(secrets) > 0 && len(texts) == 1 && !echos[0] {
			return secrets[:1], nil
		}
		return nil, errors.New("no answers configured for the server's questions")
	}
}
