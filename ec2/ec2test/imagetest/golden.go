package imagetest

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/textdiff"
)

// update is the flag that rewrites golden files. The flags of a test exist before
// the test starts.
var update = flag.Bool("imagetest.update", false, "write the golden files of package imagetest") //nolint:gochecknoglobals // see above

func updating() bool { return *update || os.Getenv("BAKESTONE_UPDATE") == "1" }

// Golden compares the image's Summary with a file, whose name is relative to the
// package's directory. With the flag -imagetest.update, or with BAKESTONE_UPDATE=1
// in the environment, it writes the file instead.
func (i *Image) Golden(file string) {
	i.env.t.Helper()
	got := i.Summary()
	if updating() {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil { //nolint:gosec // a file of the sources
			i.env.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file) //nolint:gosec // named by the test
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.env.t.Fatal(err)
	}
	text := strings.ReplaceAll(string(want), "\r\n", "\n") // of a checkout on Windows
	if diff := textdiff.Unified(text, got); diff != "" {
		i.env.t.Errorf("%s differs from %s (-want +got; accept it with -imagetest.update):\n%s", i.label, file, diff)
	}
}

// Summary describes the image as a text: its AMI, and how its packages, services,
// users and files differ from those of its source. It is the same for each bake of
// the same definition: ids, times and what depends on them are left out, as are
// logs, caches and the state of package managers.
func (i *Image) Summary() string {
	i.env.t.Helper()
	var out strings.Builder
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			out.WriteString("\n" + title + "\n" + strings.Join(lines, "\n") + "\n")
		}
	}
	out.WriteString("image " + i.label + "\n" + strings.Join(i.summarizeAMI(), "\n") + "\n")
	source := i.Source()
	section("packages", changes(source.Packages(), i.Packages()))
	section("services", changes(source.Services(), i.Services()))
	section("users", changes(source.Users(), i.Users()))
	var files []string
	for _, c := range i.Diff() {
		if !volatile(c.Path) {
			files = append(files, strings.TrimSuffix(c.String(), "\n"))
		}
	}
	section("files", files)
	return out.String()
}

func (i *Image) summarizeAMI() []string {
	i.env.t.Helper()
	a := i.AMI()
	source := i.Source().AMI()
	name := source.Tags[ec2.TagImage] // AMI names have timestamps
	if name == "" {
		name = source.Name
	}
	lines := []string{fmt.Sprintf("source %s, %s, %d GiB, encrypted %t, public %t", name, a.Architecture, a.SizeGiB, a.Encrypted, a.Public)}
	if len(a.SharedWith) > 0 {
		lines = append(lines, "shared with "+strings.Join(a.SharedWith, ", "))
	}
	if !a.Deprecated.IsZero() {
		days := a.Deprecated.Sub(a.Created).Round(time.Hour).Hours() / 24
		lines = append(lines, "deprecated after "+strconv.FormatFloat(days, 'g', 4, 64)+" days")
	}
	if a.Protected {
		lines = append(lines, "protected against deregistration")
	}
	if i.Artifact != nil {
		regions := slices.Sorted(maps.Keys(i.Artifact.IDs()))
		regions = slices.DeleteFunc(regions, func(name string) bool { return name == a.Region })
		if len(regions) > 0 {
			lines = append(lines, "copied to "+strings.Join(regions, ", "))
		}
	}
	ours, _, _ := strings.Cut(ec2.TagBuild, ":")
	for _, key := range slices.Sorted(maps.Keys(a.Tags)) {
		if value := a.Tags[key]; !strings.HasPrefix(key, ours+":") && value != a.Name {
			lines = append(lines, "tag "+key+"="+value)
		}
	}
	return lines
}

// volatile reports whether a file differs from bake to bake, or is shown by another
// part of the summary.
func volatile(name string) bool {
	switch name {
	case dpkgStatus, rpmDB, apkDB, "/etc/machine-id", "/etc/passwd", "/etc/passwd-", "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/group-", "/etc/hostname":
		return true
	}
	dir := path.Dir(name)
	if path.Dir(dir) == unitDir && (strings.HasSuffix(dir, ".wants") || strings.HasSuffix(dir, ".requires")) {
		return true
	}
	for _, prefix := range []string{"/var/log/", "/var/cache/", "/var/lib/cloud/", "/var/lib/apt/", "/var/lib/dpkg/", "/var/lib/rpm/", "/lib/apk/", "/tmp/", "/var/tmp/", "/etc/ssh/ssh_host_", "/var/lib/systemd/"} {
		if strings.HasPrefix(name+"/", prefix) || strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
