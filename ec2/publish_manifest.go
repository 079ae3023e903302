package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A PackerManifest is a [bake.Publisher] that appends the AMI to a file in the format
// of Packer's manifest post-processor, for tools that read it. It leaves out copies
// in other accounts, which the format does not support. Any number of builds and
// programs may append to the same file concurrently. A build that the file already
// contains is not appended again.
type PackerManifest struct {
	// Path is the file's path. Empty means "packer-manifest.json". Missing parent
	// directories are created.
	Path string

	// Name is the build's name. Empty means the image's name.
	Name string

	// RunUUID identifies a run of Packer, which may have several builds. Empty
	// means a UUID derived from the build id.
	RunUUID string

	// CustomData is added to the build.
	CustomData map[string]string

	// SourceData, if not nil, returns further custom data, made from the facts of the
	// AMI that the bake started from. CustomData takes precedence. It is called before
	// anything is created as well, where an error ends the bake.
	SourceData func(SourceImage) (map[string]string, error)
}

var (
	_ bake.Publisher  = PackerManifest{}
	_ bake.Validator  = PackerManifest{}
	_ SourcePublisher = PackerManifest{}
)

// String returns "manifest " and the path.
func (m PackerManifest) String() string { return "manifest " + m.path() }

// Validate reports fields that contain the printed form of a secret.
func (m PackerManifest) Validate() error { return checkRedacted("PackerManifest", m) }

func (m PackerManifest) path() string {
	if m.Path == "" {
		return "packer-manifest.json"
	}
	return m.Path
}

// A manifestFile is the content of the file. Other builds stay as they are.
type manifestFile struct {
	Builds  []json.RawMessage `json:"builds"`
	LastRun string            `json:"last_run_uuid"`
}

type manifestBuild struct {
	Name       string            `json:"name"`
	Builder    string            `json:"builder_type"`
	Time       int64             `json:"build_time"`
	Files      []string          `json:"files"`
	ArtifactID string            `json:"artifact_id"`
	RunUUID    string            `json:"packer_run_uuid"`
	CustomData map[string]string `json:"custom_data"`
}

// Publish appends the AMI. It reports a file that is not a manifest and leaves it
// as it is.
func (m PackerManifest) Publish(ctx context.Context, a bake.Artifact) (err error) {
	ami, err := AMIOf(a)
	if err != nil {
		return err
	}
	run := bake.RunFromContext(ctx)
	build := manifestBuild{
		Name: m.Name, Builder: "amazon-ebs", Time: run.Clock.Now().Unix(), ArtifactID: ami.packerID(),
		RunUUID: m.RunUUID,
	}
	if build.CustomData, err = m.customData(ami.Source); err != nil {
		return err
	}
	if build.Name == "" {
		build.Name = run.Image
	}
	if build.RunUUID == "" {
		build.RunUUID = uuidOf(ami.Build)
	}
	entry, err := json.Marshal(build)
	if err != nil {
		return err
	}
	unlock, err := lockFile(ctx, m.path())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	var file manifestFile
	data, err := os.ReadFile(m.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(data, &file); err != nil {
			return fmt.Errorf("parse manifest %s: %w", m.path(), err)
		}
	}
	if !slices.ContainsFunc(file.Builds, build.is) {
		file.Builds = append(file.Builds, entry)
	}
	file.LastRun = build.RunUUID
	return writeJSON(m.path(), file)
}

// PreflightSource reports an error of SourceData.
func (m PackerManifest) PreflightSource(source SourceImage) error {
	_, err := m.customData(source)
	return err
}

// customData returns the custom data of a bake that starts from source.
func (m PackerManifest) customData(source SourceImage) (map[string]string, error) {
	if m.SourceData == nil {
		return m.CustomData, nil
	}
	data, err := m.SourceData(source)
	if err != nil {
		return nil, bake.Invalid("PackerManifest.SourceData", "source %s: %w", source.ID, err)
	}
	if err := checkRedacted("PackerManifest.SourceData", data); err != nil {
		return nil, err
	}
	all := maps.Clone(m.CustomData)
	if all == nil {
		all = map[string]string{}
	}
	for key, value := range data {
		if _, given := all[key]; !given {
			all[key] = value
		}
	}
	return all, nil
}

// is reports whether an entry is for this build. A resumed build may find its own.
func (b manifestBuild) is(entry json.RawMessage) bool {
	var other manifestBuild
	return json.Unmarshal(entry, &other) == nil && other.Name == b.Name && other.RunUUID == b.RunUUID && other.ArtifactID == b.ArtifactID
}

// packerID returns the AMI's ids in Packer's format.
func (a *AMI) packerID() string {
	var ids []string
	for _, place := range a.everywhere() {
		if place.Account == a.Account {
			ids = append(ids, place.Region+":"+place.ImageID)
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, ",")
}

// uuidOf returns a UUID (version 8, RFC 9562) derived from text.
func uuidOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	id := hex.EncodeToString(sum[:16])
	return strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-")
}

const (
	lockTries  = 600
	lockPause  = 50 * time.Millisecond
	staleAfter = time.Minute // no live program holds a lock for so long
)

// lockFile gives this program exclusive access to the file at path until unlock. The
// lock is a separate file. A lock file left by a dead program is taken over after a
// minute. lockFile waits by the system clock, as other programs do.
func lockFile(ctx context.Context, path string) (unlock func() error, err error) {
	if err := makeDirs(path); err != nil {
		return nil, err
	}
	lock := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	for range lockTries {
		file, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // G304: it lies beside the caller's own file
		if err == nil {
			return func() error { return os.Remove(lock) }, file.Close()
		}
		removing := runtime.GOOS == "windows" && errors.Is(err, fs.ErrPermission)
		if !errors.Is(err, fs.ErrExist) && !removing {
			return nil, err
		}
		if info, statErr := os.Stat(lock); statErr == nil && time.Since(info.ModTime()) > staleAfter {
			if err := os.Remove(lock); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		if err := clock.System().Sleep(ctx, lockPause); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("lock %s: held by another process; if there is none, remove %s", path, lock)
}
